"""Metrics of the whole server."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry.model import ModelTelemetry
from diffmask_service.telemetry.requests import SECONDS


class Telemetry:
    """All metrics of one server.

    Attributes:
        registry: What `/metrics` shows.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
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
            buckets=SECONDS,
            registry=registry,
        )

    def expect_call(self, service: str, method: str) -> None:
        """Make the series of one unary method, at zero.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
        """
        self._grpc_started.labels("unary", service, method)
        self._grpc_handled.labels("unary", service, method, "OK")
        self._grpc_seconds.labels("unary", service, method)

    def begin_call(self, service: str, method: str) -> None:
        """Count a unary call that begins."""
        self._grpc_started.labels("unary", service, method).inc()

    def end_call(self, service: str, method: str, *, code: str, seconds: float) -> None:
        """Count a unary call that ended.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
            code: Name of its status, such as `OK`.
            seconds: How long it took, seconds.
        """
        self._grpc_handled.labels("unary", service, method, code).inc()
        self._grpc_seconds.labels("unary", service, method).observe(seconds)

    def for_model(
        self,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        threshold: float,
    ) -> ModelTelemetry:
        """Make the series of one model, at zero; once for each model id.

        Args:
            identity: Which model.
            states: Names of all its states.
            threshold: Of its hard mask, in [0, 1].
        """
        return ModelTelemetry(
            self.registry, identity, states=states, threshold=threshold
        )
