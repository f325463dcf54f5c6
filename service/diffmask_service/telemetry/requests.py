"""Metrics of requests and of the runs that answer them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from diffmask_service.core.values import Timings
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


class Ended(NamedTuple):
    """A request that ended.

    Attributes:
        outcome: One of `OUTCOMES`.
        seconds: How long it took, seconds.
        timings: Where the time went; None when it was not answered.
    """

    outcome: str
    seconds: float
    timings: Timings | None


class Run(NamedTuple):
    """A run of the graph.

    Attributes:
        num_texts: Its texts: that many forward passes.
        num_masked: How many of them ran under a mask, to verify an explanation.
        num_tokens: Their tokens in total, >= 1.
        num_padding: Padding computed beside them, tokens.
        release: Which of `RELEASES` let it go.
    """

    num_texts: int
    num_masked: int
    num_tokens: int
    num_padding: int
    release: str


class RequestMetrics:
    """The series of one model's requests.

    Args:
        series: Makes them.

    Attributes:
        inflight: Requests in progress.
        queue_tokens: Tokens admitted and not yet answered.
        ended: Takes note of every request that ended.
    """

    def __init__(self, series: ModelSeries) -> None:
        self._requests = series.counters(
            "diffmask_requests_total", "Requests answered.", "outcome", OUTCOMES
        )
        self._duration = series.histogram(
            "diffmask_request_duration_seconds", "Time of a whole request, seconds."
        )
        self._stages = {
            stage: series.histogram(
                f"diffmask_{stage}_duration_seconds",
                f"Time of the stage {stage} in a request, seconds.",
            )
            for stage in _STAGES
        }
        self.inflight = self.queue_tokens = 0
        series.show(
            "diffmask_inflight_requests",
            "Requests in progress.",
            lambda: self.inflight,
        )
        series.show(
            "diffmask_queue_tokens",
            "Tokens admitted and not yet answered.",
            lambda: self.queue_tokens,
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
        self.ended = series.ledger(self._count)

    def _count(self, ended: Sequence[Ended]) -> None:
        for outcome, number in Counter(each.outcome for each in ended).items():
            self._requests[outcome].inc(number)
        for each in ended:
            self._duration.observe(each.seconds)
        for timings in (each.timings for each in ended if each.timings is not None):
            self._stages["tokenize"].observe(timings.tokenize_seconds)
            self._stages["queue"].observe(timings.queue_seconds)
            self._stages["infer"].observe(timings.infer_seconds)
            self._stages["decode"].observe(timings.decode_seconds)


class RunMetrics:
    """The series of one model's runs.

    Args:
        series: Makes them.

    Attributes:
        begun: Takes note of every run.
    """

    def __init__(self, series: ModelSeries) -> None:
        self._passes = series.counters(
            "diffmask_forward_passes_total",
            "Texts that went through the graph.",
            "purpose",
            _PURPOSES,
        )
        self._tokens = series.counter(
            "diffmask_tokens_total", "Tokens that went through the graph."
        )
        self._padding = series.counter(
            "diffmask_padding_tokens_total",
            "Padding that went through the graph, tokens.",
        )
        self._releases = series.counters(
            "diffmask_run_release_total",
            "Runs, by what released them: as many texts as may share a run (full), no"
            " room for another in tokens, or a worker that was idle.",
            "reason",
            RELEASES,
        )
        self._run_texts = series.histogram(
            "diffmask_run_texts", "Texts that shared a run of the graph.", _TEXTS
        )
        self._run_tokens = series.histogram(
            "diffmask_run_tokens", "Tokens of a run of the graph.", _TOKENS
        )
        self._padding_ratio = series.histogram(
            "diffmask_run_padding_ratio",
            "Padding of a run in all that it computed, ratio.",
            _RATIOS,
        )
        self.begun = series.ledger(self._count)

    def _count(self, runs: Sequence[Run]) -> None:
        num_masked = sum(run.num_masked for run in runs)
        self._passes["explain"].inc(sum(run.num_texts for run in runs) - num_masked)
        self._passes["verify"].inc(num_masked)
        self._tokens.inc(sum(run.num_tokens for run in runs))
        self._padding.inc(sum(run.num_padding for run in runs))
        for release, number in Counter(run.release for run in runs).items():
            self._releases[release].inc(number)
        for run in runs:
            self._run_texts.observe(run.num_texts)
            self._run_tokens.observe(run.num_tokens)
            computed = run.num_padding + run.num_tokens
            self._padding_ratio.observe(run.num_padding / computed)
