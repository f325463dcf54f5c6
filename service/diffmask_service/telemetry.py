"""Metric definitions and the log format; handed to whoever counts, never global.

Names are `diffmask_<noun>_<unit>[_total]` in base units, plus the `grpc_server_` family
that existing dashboards know. Every series exists at zero before the first request.
Gate openness is a pair of counters, a sum and a count, so that replicas add up.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from diffmask_service.core.values import (
    Explanation,
    Float32Array,
    GateKind,
    ModelIdentity,
    Timings,
)
from diffmask_service.errors import (
    DeadlineError,
    NotReadyError,
    OverloadedError,
    RequestError,
)

OUTCOMES = (
    "ok",
    "invalid",
    "overloaded",
    "not_ready",
    "expired",
    "cancelled",
    "failed",
)
REJECTIONS = ("queue_full", "draining", "late")
PURPOSES = ("explain", "verify")
STAGES = ("tokenize", "queue", "infer", "decode")
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_NATS = (0.001, 0.01, 0.03, 0.1, 0.3, 1, 3)
_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)
_TEXTS = (1, 2, 4, 8, 16, 32, 64)


def outcome_of(error: BaseException) -> str:
    """Return which of `OUTCOMES` a request that ended in an error had."""
    outcomes: tuple[tuple[type[BaseException], str], ...] = (
        (RequestError, "invalid"),
        (OverloadedError, "overloaded"),
        (NotReadyError, "not_ready"),
        (DeadlineError, "expired"),
        (asyncio.CancelledError, "cancelled"),
    )
    return next((name for kind, name in outcomes if isinstance(error, kind)), "failed")


def configure_logging(level: str) -> None:
    """Send the service's log to the standard error stream, one line an event.

    Args:
        level: Name of the lowest level to write, such as `INFO`.
    """
    logging.basicConfig(format=LOG_FORMAT, level=level)


class _Families(CollectorRegistry):
    """A registry that makes each metric once, however many models share it."""

    def __init__(self) -> None:
        super().__init__(auto_describe=True)
        self._made: dict[str, Any] = {}

    def get(
        self, kind: Callable[..., _Metric], name: str, *details: Any, **more: Any
    ) -> _Metric:
        if name not in self._made:
            self._made[name] = kind(name, *details, registry=self, **more)
        made: _Metric = self._made[name]
        return made


class Telemetry:
    """All metrics of one server.

    Attributes:
        registry: What `/metrics` shows.
    """

    def __init__(self) -> None:
        self.registry = _Families()
        registry = self.registry
        grpc_labels = ("grpc_type", "grpc_service", "grpc_method")
        self._grpc_started = Counter(
            "grpc_server_started_total",
            "Calls begun.",
            grpc_labels,
            registry=registry,
        )
        self._grpc_handled = Counter(
            "grpc_server_handled_total",
            "Calls ended, by status.",
            (*grpc_labels, "grpc_code"),
            registry=registry,
        )
        self._grpc_seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end, seconds.",
            grpc_labels,
            buckets=_SECONDS,
            registry=registry,
        )

    def expect_call(self, service: str, method: str, *, kind: str = "unary") -> None:
        """Make the series of one method, at zero.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
            kind: `unary`, `client_stream`, `server_stream` or `bidi_stream`.
        """
        self._grpc_started.labels(kind, service, method)
        self._grpc_handled.labels(kind, service, method, "OK")
        self._grpc_seconds.labels(kind, service, method)

    def begin_call(self, service: str, method: str, *, kind: str = "unary") -> None:
        """Count a call that begins; arguments as for `expect_call`."""
        self._grpc_started.labels(kind, service, method).inc()

    def end_call(
        self,
        service: str,
        method: str,
        *,
        code: str,
        seconds: float,
        kind: str = "unary",
    ) -> None:
        """Count a call that ended.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
            code: Name of its status, such as `OK`.
            seconds: How long it took, seconds.
            kind: As for `expect_call`.
        """
        self._grpc_handled.labels(kind, service, method, code).inc()
        self._grpc_seconds.labels(kind, service, method).observe(seconds)

    def for_model(
        self,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        threshold: float,
    ) -> "ModelTelemetry":
        """Make the series of one model, at zero, or find them again.

        Args:
            identity: Which model.
            states: Names of all its states.
            threshold: Of its hard mask, in [0, 1].
        """
        return ModelTelemetry(
            self.registry, identity, states=states, threshold=threshold
        )


class ModelTelemetry:
    """Metrics of one model.

    Args:
        registry: Where they are shown.
        identity: Which model.
        states: Names of all its states.
        threshold: Of its hard mask, in [0, 1].
    """

    def __init__(
        self,
        registry: _Families,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        threshold: float,
    ) -> None:
        self._threshold = threshold
        self._request = _RequestMetrics(registry, identity.id)
        self._gates = _GateMetrics(registry, identity.id, states)
        info = registry.get(
            Gauge,
            "diffmask_model_info",
            "Always 1; the labels say which model is served.",
            ("model", "version", "digest", "precision"),
        )
        info.labels(
            identity.id, identity.version, identity.digest, identity.precision
        ).set(1)
        self._ready = registry.get(
            Gauge,
            "diffmask_model_ready",
            "1 while the model answers requests.",
            ("model",),
        ).labels(identity.id)

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

    def expire(self) -> None:
        """Count a text whose deadline passed before it was run."""
        self._request.expired.inc()

    def count_run(self, *, num_texts: int, num_masked: int, num_tokens: int) -> None:
        """Count one run of the graph.

        Args:
            num_texts: Texts of the run: that many forward passes.
            num_masked: How many of them ran under a mask, to verify an explanation.
            num_tokens: Their tokens in total.
        """
        self._request.passes["explain"].inc(num_texts - num_masked)
        self._request.passes["verify"].inc(num_masked)
        self._request.tokens.inc(num_tokens)
        self._request.run_texts.observe(num_texts)

    def observe_timings(self, timings: Timings) -> None:
        """Record the stages of one request."""
        self._request.stages["tokenize"].observe(timings.tokenize_seconds)
        self._request.stages["queue"].observe(timings.queue_seconds)
        self._request.stages["infer"].observe(timings.infer_seconds)
        self._request.stages["decode"].observe(timings.decode_seconds)

    def count_gates(self, kind: GateKind, gates: Float32Array) -> None:
        """Add up one text's gates.

        Args:
            kind: Which gates.
            gates: `[layers, tokens]` float32 in [0, 1], all states, special tokens
                counted.
        """
        openness = gates.sum(axis=1, dtype=np.float64)
        kept = (gates >= np.float32(self._threshold)).sum(axis=1)
        num_tokens = gates.shape[1]
        for state, series in enumerate(self._gates.by_kind[kind]):
            series.openness.inc(float(openness[state]))
            series.kept.inc(float(kept[state]))
            series.tokens.inc(num_tokens)

    def count_verifications(self, explanation: Explanation) -> None:
        """Count what the kept tokens of one text alone led to."""
        for verification in explanation.verifications:
            key = "true" if verification.is_agreeing else "false"
            self._gates.agreement[key].inc()
            self._gates.divergence.observe(verification.divergence)


class _RequestMetrics:
    def __init__(self, registry: _Families, model: str) -> None:
        def counter(name: str, meaning: str) -> Counter:
            metric = registry.get(Counter, name, meaning, ("model",))
            return metric.labels(model)

        def counters(
            name: str, meaning: str, label: str, values: Sequence[str]
        ) -> dict[str, Counter]:
            metric = registry.get(Counter, name, meaning, ("model", label))
            return {value: metric.labels(model, value) for value in values}

        def gauge(name: str, meaning: str) -> Gauge:
            return registry.get(Gauge, name, meaning, ("model",)).labels(model)

        def histogram(
            name: str, meaning: str, buckets: Sequence[float] = _SECONDS
        ) -> Histogram:
            metric = registry.get(Histogram, name, meaning, ("model",), buckets=buckets)
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
            for stage in STAGES
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
            PURPOSES,
        )
        self.tokens = counter(
            "diffmask_tokens_total", "Tokens that went through the graph."
        )
        self.run_texts = histogram(
            "diffmask_run_texts", "Texts that shared a run of the graph.", _TEXTS
        )


class _GateSeries:
    def __init__(self, openness: Counter, kept: Counter, tokens: Counter) -> None:
        self.openness = openness
        self.kept = kept
        self.tokens = tokens


class _GateMetrics:
    def __init__(self, registry: _Families, model: str, states: Sequence[str]) -> None:
        def counter(name: str, meaning: str) -> Counter:
            labels = ("model", "kind", "state")
            return registry.get(Counter, name, meaning, labels)

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
                _GateSeries(
                    openness.labels(model, kind.value, state),
                    kept.labels(model, kind.value, state),
                    tokens.labels(model, kind.value, state),
                )
                for state in states
            ]
            for kind in GateKind
        }
        verifications = registry.get(
            Counter,
            "diffmask_verifications_total",
            "Masks verified, by whether the label stayed the same.",
            ("model", "is_agreeing"),
        )
        self.agreement = {
            key: verifications.labels(model, key) for key in ("true", "false")
        }
        self.divergence = registry.get(
            Histogram,
            "diffmask_verification_divergence_nats",
            "Divergence of the masked from the full prediction, nats.",
            ("model",),
            buckets=_NATS,
        ).labels(model)
