"""Metrics of one model: the one thing that an engine counts with."""

from collections.abc import Callable, Sequence

from prometheus_client import Gauge

from diffmask_service.bundle import References
from diffmask_service.core.predictions import LabelPrediction
from diffmask_service.core.values import (
    Explanation,
    GateKind,
    ModelIdentity,
    Outputs,
    Timings,
)
from diffmask_service.telemetry.drift import DriftMonitor
from diffmask_service.telemetry.gates import GateMetrics
from diffmask_service.telemetry.requests import RequestMetrics, RunMetrics
from diffmask_service.telemetry.series import ModelSeries
from diffmask_service.telemetry.tracing import Tracer


class ModelTelemetry:
    """Metrics and spans of one version of a model.

    Args:
        series: Makes its series.
        identity: Which model.
        states: Names of all its states.
        labels: Names of all its labels.
        threshold: Of its hard mask, in [0, 1].
        references: Reference distributions of its bundle by kind of gate.
        by_state: Whether each state has series of its own.
        tracer: Where spans go.
    """

    def __init__(
        self,
        series: ModelSeries,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        labels: Sequence[str],
        threshold: float,
        references: References,
        by_state: bool,
        tracer: Tracer,
    ) -> None:
        self._series = series
        self._tracer = tracer
        self._request = RequestMetrics(series)
        self._runs = RunMetrics(series)
        self._gates = GateMetrics(
            series, states=states, threshold=threshold, by_state=by_state
        )
        self._drift = DriftMonitor(
            series,
            {
                GateKind(kind): reference.histograms
                for kind, reference in references.items()
                if reference.histograms is not None
            },
            states=states,
            labels=labels,
            threshold=threshold,
            by_state=by_state,
        )
        series.make(
            Gauge,
            "diffmask_model_info",
            "Always 1; the labels say which model is served.",
            [("digest", identity.digest), ("precision", identity.precision)],
        ).set(1)
        self._ready = series.gauge(
            "diffmask_model_ready", "1 while the model answers requests."
        )
        series.gauge(
            "diffmask_model_load_timestamp_seconds",
            "When the model was loaded, seconds of Unix time.",
        ).set_to_current_time()

    def close(self) -> None:
        """Remove the series, unless another engine serves the same version."""
        self._series.remove()

    def set_ready(self, *, is_ready: bool) -> None:
        """Show whether the model answers requests."""
        self._ready.set(int(is_ready))

    def begin_request(self) -> None:
        """Count a request that begins."""
        self._request.inflight.inc()

    def end_request(self, *, outcome: str, seconds: float) -> None:
        """Count a request that ended.

        Args:
            outcome: One of `OUTCOMES`.
            seconds: How long it took, seconds.
        """
        self._request.inflight.dec()
        self._request.requests[outcome].inc()
        self._request.duration.observe(seconds)

    def reject(self, reason: str) -> None:
        """Count a request that was turned away for one of `REJECTIONS`."""
        self._request.rejected[reason].inc()

    def set_queue_tokens(self, num_tokens: int) -> None:
        """Show how many tokens are admitted and not yet answered."""
        self._request.queue_tokens.set(num_tokens)

    def watch_queue(self, count_texts: Callable[[], int]) -> None:
        """Show how many texts wait, asked at each scrape, from its thread."""
        self._request.queue_texts.set_function(count_texts)

    def expire(self, *, stage: str = "queue") -> None:
        """Count a text whose deadline passed in one of `EXPIRY_STAGES`."""
        self._request.expired[stage].inc()

    def count_run(
        self,
        *,
        num_texts: int,
        num_masked: int,
        num_tokens: int,
        num_padding: int = 0,
        release: str = "idle",
    ) -> None:
        """Count one run of the graph.

        Args:
            num_texts: Texts of the run: that many forward passes.
            num_masked: How many of them ran under a mask, to verify an explanation or
                because their caller hid tokens.
            num_tokens: Their tokens in total, >= 1.
            num_padding: Padding computed beside them, tokens.
            release: Which of `RELEASES` let it go.
        """
        self._runs.passes["explain"].inc(num_texts - num_masked)
        self._runs.passes["verify"].inc(num_masked)
        self._runs.tokens.inc(num_tokens)
        self._runs.padding.inc(num_padding)
        self._runs.releases[release].inc()
        self._runs.run_texts.observe(num_texts)
        self._runs.run_tokens.observe(num_tokens)
        self._runs.padding_ratio.observe(num_padding / (num_padding + num_tokens))

    def observe_timings(self, timings: Timings) -> None:
        """Record the stages of one request."""
        self._request.stages["tokenize"].observe(timings.tokenize_seconds)
        self._request.stages["queue"].observe(timings.queue_seconds)
        self._request.stages["infer"].observe(timings.infer_seconds)
        self._request.stages["decode"].observe(timings.decode_seconds)

    def count_text(
        self, explanation: Explanation, outputs: Outputs, *, is_masked: bool = False
    ) -> None:
        """Count what was said of one text: its gates and how far they can be trusted.

        Args:
            explanation: What its caller is told.
            outputs: Of its run, a batch of one, all states.
            is_masked: Whether its caller hid some of its tokens. Then it is no text of
                the model's traffic, and would only blur sparsity and drift.
        """
        if is_masked:
            return
        label_index = 0
        if isinstance(explanation.prediction, LabelPrediction):
            label_index = explanation.prediction.label_index
        gates_by_kind = {
            GateKind.INPUT: outputs.input_gates,
            GateKind.HIDDEN: outputs.hidden_gates,
        }
        is_explained = False
        for kind, gates in gates_by_kind.items():
            if gates is not None:
                is_explained = True
                self._gates.count(kind, gates[0])
                self._drift.add(kind, gates[0], label_index=label_index)
        self._request.texts["true" if is_explained else "false"].inc()
        self._gates.count_verifications(explanation)

    def trace(
        self, stage: str, *, began: float, ended: float, **counts: int | str
    ) -> None:
        """Record a stage of the present call that has ended.

        Args:
            stage: Its name.
            began: When, seconds of `time.monotonic`.
            ended: When, likewise.
            **counts: Sizes and names, never content.
        """
        self._tracer.record(stage, began=began, ended=ended, **counts)
