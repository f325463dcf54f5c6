"""Metrics of gates and of the masks made from them.

A text has a sum for each state, kind of gate and counter, some dozens. They are added
up in arrays, and the counters that show them are brought up to date at a scrape.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
from prometheus_client import Counter, Histogram

from diffmask_service.core.alignment import aggregate_scores, hard_mask
from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import Explanation, GateKind
from diffmask_service.telemetry.series import ModelSeries

_NATS = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3)
_TOKENS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# At most the first or at least the second, a gate says all that it can.
_SHUT, _OPEN = np.float32(0.01), np.float32(0.99)
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
        threshold: Of its hard mask, in [0, 1].
        by_state: Whether each state has series of its own; otherwise all states are
            added up in one, named `all`.
    """

    def __init__(
        self,
        series: ModelSeries,
        *,
        states: Sequence[str],
        threshold: float,
        by_state: bool,
    ) -> None:
        self._threshold = threshold
        self._by_state = by_state
        shown = states if by_state else ("all",)
        self._counters = {
            kind: [_counters(series, kind, state) for state in shown]
            for kind in GateKind
        }
        # `[counters, layers]` float64, what the counters do not show yet.
        self._sums = {
            kind: np.zeros((len(_MEANINGS), len(states))) for kind in GateKind
        }
        self._lock = Lock()
        series.gather_with(self._gather)
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

    def count(self, kind: GateKind, gates: Float32Array) -> None:
        """Add up one text's gates.

        Args:
            kind: Which gates.
            gates: `[layers, tokens]` float32 in [0, 1], all states, special tokens
                counted.
        """
        openness = gates.sum(axis=1, dtype=np.float64)
        kept = (gates >= np.float32(self._threshold)).sum(axis=1)
        saturated = ((gates <= _SHUT) | (gates >= _OPEN)).sum(axis=1)
        with self._lock:
            sums = self._sums[kind]
            sums[0] += openness
            sums[1] += kept
            sums[2] += saturated
            sums[3] += gates.shape[1]
        if kind is GateKind.INPUT:
            mask = hard_mask(aggregate_scores(gates), threshold=self._threshold)
            self._kept.observe(int(mask.sum()))

    def count_verifications(self, explanation: Explanation) -> None:
        """Count what the kept tokens of one text alone led to."""
        for verification in explanation.verifications:
            key = "true" if verification.is_agreeing else "false"
            self._agreement[key].inc()
            self._divergence.observe(verification.divergence)

    def _gather(self) -> None:
        with self._lock:
            taken = {kind: sums.T.copy() for kind, sums in self._sums.items()}
            for sums in self._sums.values():
                sums[:] = 0
        for kind, sums in taken.items():
            by_state = sums if self._by_state else sums.sum(axis=0, keepdims=True)
            for counters, amounts in zip(
                self._counters[kind], by_state.tolist(), strict=True
            ):
                for counter, amount in zip(counters, amounts, strict=True):
                    counter.inc(amount)


def _counters(series: ModelSeries, kind: GateKind, state: str) -> list[Counter]:
    labels = [("kind", kind.value), ("state", state)]
    return [
        series.make(Counter, name, meaning, labels)
        for name, meaning in _MEANINGS.items()
    ]
