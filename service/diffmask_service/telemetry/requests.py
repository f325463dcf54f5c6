"""Metrics of requests and of the runs that answer them."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from diffmask_service.telemetry.outcomes import OUTCOMES, REJECTIONS

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_PURPOSES = ("explain", "verify")
_STAGES = ("tokenize", "queue", "infer", "decode")
_TEXTS = (1, 2, 4, 8, 16, 32, 64)


class RequestMetrics:
    """The series of one model's requests and runs."""

    def __init__(self, registry: CollectorRegistry, model: str) -> None:
        def counter(name: str, meaning: str) -> Counter:
            metric = Counter(name, meaning, ("model",), registry=registry)
            return metric.labels(model)

        def counters(
            name: str, meaning: str, label: str, values: Sequence[str]
        ) -> dict[str, Counter]:
            metric = Counter(name, meaning, ("model", label), registry=registry)
            return {value: metric.labels(model, value) for value in values}

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, ("model",), registry=registry).labels(model)

        def histogram(
            name: str, meaning: str, buckets: Sequence[float] = SECONDS
        ) -> Histogram:
            metric = Histogram(
                name, meaning, ("model",), buckets=buckets, registry=registry
            )
            return metric.labels(model)

        self.requests = counters(
            "diffmask_requests_total", "Requests answered.", "outcome", OUTCOMES
        )
        self.duration = histogram(
            "diffmask_request_duration_seconds", "Time of a whole request, seconds."
        )
        self.stages = {
            stage: histogram(
                f"diffmask_{stage}_duration_seconds",
                f"Time of the stage {stage} in a request, seconds.",
            )
            for stage in _STAGES
        }
        self.inflight = gauge("diffmask_inflight_requests", "Requests in progress.")
        self.queue_tokens = gauge(
            "diffmask_queue_tokens", "Tokens admitted and not yet answered."
        )
        self.rejected = counters(
            "diffmask_rejected_requests_total",
            "Requests turned away before any work.",
            "reason",
            REJECTIONS,
        )
        self.expired = counter(
            "diffmask_expired_texts_total",
            "Texts never run because their deadline had passed.",
        )
        self.passes = counters(
            "diffmask_forward_passes_total",
            "Texts that went through the graph.",
            "purpose",
            _PURPOSES,
        )
        self.tokens = counter(
            "diffmask_tokens_total", "Tokens that went through the graph."
        )
        self.run_texts = histogram(
            "diffmask_run_texts", "Texts that shared a run of the graph.", _TEXTS
        )
