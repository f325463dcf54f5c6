"""Metrics of gates and of the masks made from them."""

from collections.abc import Sequence

import numpy as np
from prometheus_client import Counter, Histogram

from diffmask_service.core.gate_sums import GateSums
from diffmask_service.core.values import GateKind, Verification
from diffmask_service.telemetry.series import ModelSeries

_NATS = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3)
_TOKENS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_MEANINGS = {
    "diffmask_gate_openness_total": (
        "Sum of expected gate values; divide by the tokens for the mean gate."
    ),
    "diffmask_gate_kept_tokens_total": (
        "Tokens that the hard mask keeps; divide by the tokens for the share."
    ),
    "diffmask_gate_saturated_tokens_total": (
        "Tokens whose gate is at most 0.01 or at least 0.99; divide by the tokens for"
        " the share."
    ),
    "diffmask_gate_tokens_total": "Tokens whose gates were computed.",
}


class GateMetrics:
    """The series of one model's gates.

    Args:
        series: Makes them.
        states: Names of all its states.
        by_state: Whether each state has series of its own; otherwise all states are
            added up in one, named `all`.
    """

    def __init__(
        self,
        series: ModelSeries,
        *,
        states: Sequence[str],
        by_state: bool,
    ) -> None:
        self._by_state = by_state
        shown = states if by_state else ("all",)
        self._counters = {
            kind: [_counters(series, kind, state) for state in shown]
            for kind in GateKind
        }
        self._kept = series.histogram(
            "diffmask_kept_tokens",
            "Tokens of a text that the hard mask of the aggregate score keeps.",
            _TOKENS,
        )
        self._agreement = series.counters(
            "diffmask_verifications_total",
            "Masks verified, by whether the label stayed the same.",
            "is_agreeing",
            ("true", "false"),
        )
        self._divergence: Histogram = series.histogram(
            "diffmask_verification_divergence_nats",
            "Divergence of the masked from the full prediction, nats.",
            _NATS,
        )

    def count(self, kind: GateKind, sums: GateSums) -> None:
        """Count the gates of some texts.

        Args:
            kind: Which gates.
            sums: Of each text.
        """
        by_text = (
            sums.openness,
            sums.kept,
            sums.saturated,
            np.broadcast_to(sums.num_tokens, sums.kept.shape),
        )
        totals = np.stack([each.sum(axis=1) for each in by_text], axis=1)
        if not self._by_state:
            totals = totals.sum(axis=0, keepdims=True)
        for counters, amounts in zip(
            self._counters[kind], totals.tolist(), strict=True
        ):
            for counter, amount in zip(counters, amounts, strict=True):
                counter.inc(amount)
        if kind is GateKind.INPUT:
            for num_kept in sums.kept_by_all.tolist():
                self._kept.observe(num_kept)

    def count_verification(self, verification: Verification) -> None:
        """Count what the kept tokens of a text alone led to."""
        self._agreement["true" if verification.is_agreeing else "false"].inc()
        self._divergence.observe(verification.divergence)


def _counters(series: ModelSeries, kind: GateKind, state: str) -> list[Counter]:
    labels = [("kind", kind.value), ("state", state)]
    return [
        series.make(Counter, name, meaning, labels)
        for name, meaning in _MEANINGS.items()
    ]
