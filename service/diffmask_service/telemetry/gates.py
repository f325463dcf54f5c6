"""Metrics of gates and of the masks made from them."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from diffmask_service.core.values import GateKind

_NATS = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3)


class GateSeries:
    """The counters of one kind of gate in one state."""

    def __init__(self, openness: Counter, kept: Counter, tokens: Counter) -> None:
        self.openness = openness
        self.kept = kept
        self.tokens = tokens


class GateMetrics:
    """The series of one model's gates."""

    def __init__(
        self, registry: CollectorRegistry, model: str, states: Sequence[str]
    ) -> None:
        def counter(name: str, meaning: str) -> Counter:
            labels = ("model", "kind", "state")
            return Counter(name, meaning, labels, registry=registry)

        openness = counter(
            "diffmask_gate_openness_total",
            "Sum of expected gate values; divide by the tokens for the mean gate.",
        )
        kept = counter(
            "diffmask_gate_kept_tokens_total",
            "Tokens that the hard mask keeps; divide by the tokens for the share.",
        )
        tokens = counter(
            "diffmask_gate_tokens_total", "Tokens whose gates were computed."
        )
        self.by_kind = {
            kind: [
                GateSeries(
                    openness.labels(model, kind.value, state),
                    kept.labels(model, kind.value, state),
                    tokens.labels(model, kind.value, state),
                )
                for state in states
            ]
            for kind in GateKind
        }
        verifications = Counter(
            "diffmask_verifications_total",
            "Masks verified, by whether the label stayed the same.",
            ("model", "is_agreeing"),
            registry=registry,
        )
        self.agreement = {
            key: verifications.labels(model, key) for key in ("true", "false")
        }
        self.divergence = Histogram(
            "diffmask_verification_divergence_nats",
            "Divergence of the masked from the full prediction, nats.",
            ("model",),
            buckets=_NATS,
            registry=registry,
        ).labels(model)
