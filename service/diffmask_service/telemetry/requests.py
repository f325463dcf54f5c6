"""Metrics of requests and of the runs that answer them."""

from diffmask_service.telemetry.outcomes import (
    EXPIRY_STAGES,
    OUTCOMES,
    REJECTIONS,
    RELEASES,
)
from diffmask_service.telemetry.series import ModelSeries

_PURPOSES = ("explain", "verify")
_STAGES = ("tokenize", "queue", "infer", "decode")
_TEXTS = (1, 2, 4, 8, 16, 32, 64)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_RATIOS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


class RequestMetrics:
    """The series of one model's requests.

    Args:
        series: Makes them.
    """

    def __init__(self, series: ModelSeries) -> None:
        self.requests = series.counters(
            "diffmask_requests_total", "Requests answered.", "outcome", OUTCOMES
        )
        self.duration = series.histogram(
            "diffmask_request_duration_seconds", "Time of a whole request, seconds."
        )
        self.stages = {
            stage: series.histogram(
                f"diffmask_{stage}_duration_seconds",
                f"Time of the stage {stage} in a request, seconds.",
            )
            for stage in _STAGES
        }
        self.inflight = series.gauge(
            "diffmask_inflight_requests", "Requests in progress."
        )
        self.queue_tokens = series.gauge(
            "diffmask_queue_tokens", "Tokens admitted and not yet answered."
        )
        self.queue_texts = series.gauge(
            "diffmask_queue_texts", "Texts that wait for a run."
        )
        self.rejected = series.counters(
            "diffmask_rejected_requests_total",
            "Requests turned away before any work.",
            "reason",
            REJECTIONS,
        )
        self.expired = series.counters(
            "diffmask_expired_texts_total",
            "Texts whose deadline passed, by where: never run (queue), or in a run that"
            " came too late (infer).",
            "stage",
            EXPIRY_STAGES,
        )
        self.texts = series.counters(
            "diffmask_texts_total",
            "Texts answered, those with masked tokens left out, by whether gates were"
            " asked for.",
            "is_explained",
            ("true", "false"),
        )


class RunMetrics:
    """The series of one model's runs.

    Args:
        series: Makes them.
    """

    def __init__(self, series: ModelSeries) -> None:
        self.passes = series.counters(
            "diffmask_forward_passes_total",
            "Texts that went through the graph.",
            "purpose",
            _PURPOSES,
        )
        self.tokens = series.counter(
            "diffmask_tokens_total", "Tokens that went through the graph."
        )
        self.padding = series.counter(
            "diffmask_padding_tokens_total",
            "Padding that went through the graph, tokens.",
        )
        self.releases = series.counters(
            "diffmask_run_release_total",
            "Runs, by what released them: as many texts as may share a run (full), no"
            " room for another in tokens, the longest wait (timeout), or a worker that"
            " was idle.",
            "reason",
            RELEASES,
        )
        self.run_texts = series.histogram(
            "diffmask_run_texts", "Texts that shared a run of the graph.", _TEXTS
        )
        self.run_tokens = series.histogram(
            "diffmask_run_tokens", "Tokens of a run of the graph.", _TOKENS
        )
        self.padding_ratio = series.histogram(
            "diffmask_run_padding_ratio",
            "Padding of a run in all that it computed, ratio.",
            _RATIOS,
        )
