"""Spans to an OpenTelemetry collector; needs the extra `tracing`.

Of what a caller sends only `traceparent` is read: baggage and trace state may hold
anything, and would travel on.
"""

import time
from collections.abc import Iterable
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from diffmask_service import __version__
from diffmask_service.errors import StartError
from diffmask_service.telemetry.tracing import TraceSettings

_EXPORTERS: Final = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "http": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}
# Its retries come to an end with it, and so does the last wait when a server stops.
_EXPORT_SECONDS = 3
_CALL_SPAN: ContextVar[Any] = ContextVar("diffmask_call_span", default=None)


def connect_tracer(settings: TraceSettings) -> "OpenTelemetryTracer":
    """Return a tracer that sends spans to a collector, in batches from a thread.

    Args:
        settings: Where they go. A collector that does not answer costs spans, never
            requests.

    Raises:
        StartError: The extra is not installed.
    """
    try:
        exporter = import_module(_EXPORTERS[settings.protocol]).OTLPSpanExporter
        export = import_module("opentelemetry.sdk.trace.export")
    except ImportError as error:
        raise StartError(
            "tracing needs OpenTelemetry; install diffmask-service[tracing], or leave"
            " out --trace-endpoint"
        ) from error
    processor = export.BatchSpanProcessor(
        exporter(endpoint=settings.endpoint, timeout=_EXPORT_SECONDS)
    )
    return OpenTelemetryTracer(processor, sample_ratio=settings.sample_ratio)


class OpenTelemetryTracer:
    """Makes one span for each call, and one under it for each stage.

    Args:
        processor: A span processor of the OpenTelemetry SDK.
        sample_ratio: Share of calls that are traced, in [0, 1].
    """

    def __init__(self, processor: Any, *, sample_ratio: float = 1.0) -> None:
        sdk = import_module("opentelemetry.sdk.trace")
        sampling = import_module("opentelemetry.sdk.trace.sampling")
        resources = import_module("opentelemetry.sdk.resources")
        self._trace = import_module("opentelemetry.trace")
        propagation = import_module("opentelemetry.trace.propagation.tracecontext")
        self._propagator = propagation.TraceContextTextMapPropagator()
        self._provider = sdk.TracerProvider(
            sampler=sampling.ParentBased(sampling.TraceIdRatioBased(sample_ratio)),
            resource=resources.Resource.create(
                {"service.name": "diffmask", "service.version": __version__}
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("diffmask_service", __version__)

    def begin_call(
        self,
        service: str,
        method: str,
        *,
        metadata: Iterable[tuple[str, str | bytes]],
        request_id: str,
    ) -> None:
        """Open the span of the call that the present task handles."""
        carried = {key: value for key, value in metadata if key == "traceparent"}
        span = self._tracer.start_span(
            f"{service}/{method}",
            # A context of its own: nothing is taken from where the server was started.
            context=self._propagator.extract(carried, context={}),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "diffmask.request_id": request_id,
            },
        )
        _CALL_SPAN.set(span)

    def end_call(self, *, code: str) -> None:
        """Close it with the name of the call's status."""
        span = _CALL_SPAN.get()
        if span is None:
            return
        span.set_attribute("diffmask.grpc_code", code)
        if code != "OK":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def record(
        self, stage: str, *, began: float, ended: float, **counts: int | str
    ) -> None:
        """Add a stage to it; times are seconds of `time.monotonic`."""
        parent = _CALL_SPAN.get()
        if parent is None or not parent.is_recording():
            return
        # Spans are stamped with the time of day.
        now_ns, now = time.time_ns(), time.monotonic()
        span = self._tracer.start_span(
            stage,
            context=self._trace.set_span_in_context(parent, {}),
            start_time=now_ns - round((now - began) * 1e9),
            attributes={f"diffmask.{name}": count for name, count in counts.items()},
        )
        span.end(end_time=now_ns - round((now - ended) * 1e9))

    def close(self) -> None:
        """Send what is left, and wait a few seconds at most."""
        self._provider.shutdown()
