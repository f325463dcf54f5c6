"""Metrics of one model."""

from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Gauge

from diffmask_service.core.values import (
    Explanation,
    Float32Array,
    GateKind,
    ModelIdentity,
    Timings,
)
from diffmask_service.telemetry.gates import GateMetrics
from diffmask_service.telemetry.requests import RequestMetrics


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
        registry: CollectorRegistry,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        threshold: float,
    ) -> None:
        self._threshold = threshold
        self._request = RequestMetrics(registry, identity.id)
        self._gates = GateMetrics(registry, identity.id, states)
        info = Gauge(
            "diffmask_model_info",
            "Always 1; the labels say which model is served.",
            ("model", "version", "digest", "precision"),
            registry=registry,
        )
        info.labels(
            identity.id, identity.version, identity.digest, identity.precision
        ).set(1)
        self._ready = Gauge(
            "diffmask_model_ready",
            "1 while the model answers requests.",
            ("model",),
            registry=registry,
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
