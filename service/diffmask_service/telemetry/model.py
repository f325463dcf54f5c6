"""Metrics of one model: the one thing that an engine counts with."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from prometheus_client import Gauge

from diffmask_service.bundle import References
from diffmask_service.core.gate_sums import sum_gates
from diffmask_service.core.predictions import Float32Array, LabelPrediction
from diffmask_service.core.values import (
    Explanation,
    GateKind,
    ModelIdentity,
    Outputs,
    Timings,
    Verification,
)
from diffmask_service.telemetry.drift import DriftMonitor
from diffmask_service.telemetry.gates import GateMetrics
from diffmask_service.telemetry.requests import Ended, RequestMetrics, Run, RunMetrics
from diffmask_service.telemetry.series import ModelSeries
from diffmask_service.telemetry.tracing import Tracer

# Enough to add up at once, few enough to take no more than a millisecond.
_TEXTS_AT_ONCE = 64


class _Text(NamedTuple):
    """One text that was answered.

    Attributes:
        label_index: Its predicted label; 0 where it has no single one.
        gates_by_kind: For each kind `[layers, tokens]` float32; None if unasked.
        verifications: What its kept tokens alone led to.
    """

    label_index: int
    gates_by_kind: dict[GateKind, Float32Array | None]
    verifications: tuple[Verification, ...]


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
        self._gates = GateMetrics(series, states=states, by_state=by_state)
        self._drift = DriftMonitor(
            series,
            {
                GateKind(kind): reference.histograms
                for kind, reference in references.items()
                if reference.histograms is not None
            },
            states=states,
            labels=labels,
            by_state=by_state,
        )
        self._threshold = threshold
        self._texts = series.ledger(self._count_texts, room=_TEXTS_AT_ONCE)
        series.make(
            Gauge,
            "diffmask_model_info",
            "Always 1; the labels say which model is served.",
            [("digest", identity.digest), ("precision", identity.precision)],
        ).set(1)
        self._is_ready = False
        series.show(
            "diffmask_model_ready",
            "1 while the model answers requests.",
            lambda: float(self._is_ready),
            join=max,
        )
        self._count_waiting: Callable[[], int] = lambda: 0
        series.show(
            "diffmask_queue_texts",
            "Texts that wait for a run.",
            self._read_waiting,
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
        self._is_ready = is_ready

    def begin_request(self) -> None:
        """Count a request that begins."""
        self._request.inflight += 1

    def end_request(
        self, *, outcome: str, seconds: float, timings: Timings | None = None
    ) -> None:
        """Count a request that ended.

        Args:
            outcome: One of `OUTCOMES`.
            seconds: How long it took, seconds.
            timings: Where the time went; None when it was not answered.
        """
        self._request.inflight -= 1
        self._request.ended.note(Ended(outcome, seconds, timings))

    def reject(self, reason: str) -> None:
        """Count a request that was turned away for one of `REJECTIONS`."""
        self._request.rejected[reason].inc()

    def set_queue_tokens(self, num_tokens: int) -> None:
        """Show how many tokens are admitted and not yet answered."""
        self._request.queue_tokens = num_tokens

    def watch_queue(self, count_texts: Callable[[], int]) -> None:
        """Show how many texts wait, asked at each scrape, from its thread."""
        self._count_waiting = count_texts

    def _read_waiting(self) -> float:
        return self._count_waiting()

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
        self._runs.begun.note(
            Run(num_texts, num_masked, num_tokens, num_padding, release)
        )

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
        said = explanation.prediction
        gates_by_kind = {
            GateKind.INPUT: outputs.input_gates,
            GateKind.HIDDEN: outputs.hidden_gates,
        }
        self._texts.note(
            _Text(
                said.label_index if isinstance(said, LabelPrediction) else 0,
                {k: None if g is None else g[0] for k, g in gates_by_kind.items()},
                explanation.verifications,
            )
        )

    def _count_texts(self, texts: Sequence[_Text]) -> None:
        for kind in GateKind:
            gates, labels = [], []
            for text in texts:
                if (of_text := text.gates_by_kind[kind]) is not None:
                    gates.append(of_text)
                    labels.append(text.label_index)
            if gates:
                sums = sum_gates(gates, threshold=self._threshold)
                self._gates.count(kind, sums)
                self._drift.add(kind, sums.figures, labels)
        # Whatever gates were asked for, those of the input were computed.
        num_explained = sum(t.gates_by_kind[GateKind.INPUT] is not None for t in texts)
        self._request.texts["true"].inc(num_explained)
        self._request.texts["false"].inc(len(texts) - num_explained)
        for text in texts:
            for verification in text.verifications:
                self._gates.count_verification(verification)

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
