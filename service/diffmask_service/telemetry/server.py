"""Metrics of the whole server, and where those of its models come from."""

import platform
from collections.abc import Iterable, Sequence
from types import MappingProxyType

from prometheus_client import Gauge

from diffmask_service import __version__
from diffmask_service.bundle import References
from diffmask_service.core.values import ModelIdentity
from diffmask_service.telemetry.calls import CalledMethod, CallMetrics, EndedCall
from diffmask_service.telemetry.model import ModelTelemetry
from diffmask_service.telemetry.series import (
    Families,
    ModelSeries,
    SeriesRegistry,
)
from diffmask_service.telemetry.tracing import NoTracer, Tracer

_NO_REFERENCES: References = MappingProxyType({})


class Telemetry:
    """All metrics and spans of one server.

    Args:
        by_state: Whether each state of a model has series of its own.
        tracer: Where spans go; None for nowhere.

    Attributes:
        registry: What `/metrics` shows.
    """

    def __init__(self, *, by_state: bool = True, tracer: Tracer | None = None) -> None:
        self.registry = SeriesRegistry()
        self._families = Families(self.registry)
        self._by_state = by_state
        self._tracer = tracer or NoTracer()
        self._calls = CallMetrics(self._families)
        self._families.get(
            Gauge,
            "diffmask_build_info",
            "Always 1; the labels say which release runs, and on which Python.",
            ("version", "python_version"),
        ).labels(__version__, platform.python_version()).set(1)

    def close(self) -> None:
        """Send what spans are left; waits no longer than a few seconds."""
        self._tracer.close()

    def expect_call(self, service: str, method: str, *, kind: str = "unary") -> None:
        """Make the series of one method, at zero.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
            kind: `unary`, `client_stream`, `server_stream` or `bidi_stream`.
        """
        self._calls.expect(CalledMethod(kind, service, method))

    def begin_call(
        self,
        service: str,
        method: str,
        *,
        kind: str = "unary",
        metadata: Iterable[tuple[str, str | bytes]] = (),
        request_id: str = "",
    ) -> None:
        """Count a call that begins, and open its span.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method, one that the service has.
            kind: As for `expect_call`.
            metadata: What the caller sent; only the trace that the call belongs to is
                read of it.
            request_id: Identity of the call in the log.
        """
        self._calls.begun.note(CalledMethod(kind, service, method))
        self._tracer.begin_call(
            service, method, metadata=metadata, request_id=request_id
        )

    def end_call(
        self,
        service: str,
        method: str,
        *,
        code: str,
        seconds: float,
        kind: str = "unary",
    ) -> None:
        """Count a call that ended, and close its span.

        Args:
            service: Full name of the gRPC service.
            method: Name of the method.
            code: Name of its status, such as `OK`.
            seconds: How long it took, seconds.
            kind: As for `expect_call`.
        """
        called = CalledMethod(kind, service, method)
        self._calls.ended.note(EndedCall(called, code, seconds))
        self._tracer.end_call(code=code)

    def for_model(
        self,
        identity: ModelIdentity,
        *,
        states: Sequence[str],
        threshold: float,
        labels: Sequence[str] = (),
        references: References = _NO_REFERENCES,
    ) -> ModelTelemetry:
        """Make the series of one version of a model, at zero.

        Args:
            identity: Which model.
            states: Names of all its states.
            threshold: Of its hard mask, in [0, 1].
            labels: Names of all its labels.
            references: Reference distributions of its bundle by kind of gate; drift is
                shown for those with histograms.
        """
        return ModelTelemetry(
            ModelSeries(self._families, identity),
            identity,
            states=states,
            labels=labels,
            threshold=threshold,
            references=references,
            by_state=self._by_state,
            tracer=self._tracer,
        )
