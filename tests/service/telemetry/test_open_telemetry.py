import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import StartError
from diffmask_service.telemetry import Telemetry, TraceSettings, connect_tracer
from diffmask_service.telemetry.open_telemetry import OpenTelemetryTracer

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
SERVICE = "diffmask.v1.Explainer"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def telemetry(spans: InMemorySpanExporter) -> Iterator[Telemetry]:
    made = Telemetry(tracer=OpenTelemetryTracer(SimpleSpanProcessor(spans)))
    yield made
    made.close()


def call(telemetry: Telemetry, *metadata: tuple[str, str]) -> None:
    telemetry.begin_call(SERVICE, "Explain", metadata=metadata, request_id="abc")
    telemetry.end_call(SERVICE, "Explain", code="OK", seconds=0.1)


def named(spans: InMemorySpanExporter, name: str) -> Sequence[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_a_call_has_a_span_for_each_stage(
    spans: InMemorySpanExporter, engine: Engine, telemetry: Telemetry
) -> None:
    before = time.time_ns()
    telemetry.begin_call(SERVICE, "Explain", request_id="abc")
    texts = [TextInput(text="good"), TextInput(text="a funny movie")]
    await engine.explain(texts, ExplainOptions(verify=True))
    telemetry.end_call(SERVICE, "Explain", code="OK", seconds=0.1)
    after = time.time_ns()
    names = sorted(span.name for span in spans.get_finished_spans())
    assert names == sorted(
        [f"{SERVICE}/Explain", "tokenize", "decode", *["queue", "infer", "verify"] * 2]
    )
    (root,) = named(spans, f"{SERVICE}/Explain")
    assert root.kind is SpanKind.SERVER
    for span in spans.get_finished_spans():
        assert trace_id(span) == trace_id(root)
        assert span.start_time is not None
        assert span.end_time is not None
        # The two clocks are read one after the other.
        assert before - 10**6 <= span.start_time <= span.end_time <= after + 10**6
        if span is not root:
            assert span.parent is not None
            assert root.context is not None
            assert span.parent.span_id == root.context.span_id


def test_a_call_joins_the_callers_trace(
    spans: InMemorySpanExporter, telemetry: Telemetry
) -> None:
    call(telemetry, ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"))
    (root,) = spans.get_finished_spans()
    assert trace_id(root) == TRACE_ID
    assert root.parent is not None
    assert f"{root.parent.span_id:016x}" == SPAN_ID


@pytest.mark.parametrize("header", ["", "zanzibar", f"00-{TRACE_ID}-{SPAN_ID}-00"])
def test_what_is_no_trace_or_not_sampled_is_no_parent(
    spans: InMemorySpanExporter, telemetry: Telemetry, header: str
) -> None:
    call(telemetry, ("traceparent", header))
    for root in spans.get_finished_spans():
        assert root.parent is None
        assert trace_id(root) != TRACE_ID


def test_nothing_else_that_a_caller_sends_is_kept(
    spans: InMemorySpanExporter, telemetry: Telemetry
) -> None:
    call(
        telemetry,
        ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"),
        ("tracestate", "vendor=zanzibar"),
        ("baggage", "user=zanzibar"),
    )
    (root,) = spans.get_finished_spans()
    assert "zanzibar" not in root.to_json()


def test_a_share_of_the_calls_is_traced(spans: InMemorySpanExporter) -> None:
    processor = SimpleSpanProcessor(spans)
    telemetry = Telemetry(tracer=OpenTelemetryTracer(processor, sample_ratio=0.0))
    call(telemetry)
    assert not spans.get_finished_spans()
    call(telemetry, ("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"))
    assert len(spans.get_finished_spans()) == 1
    telemetry.close()


def test_a_failed_call_is_marked(
    spans: InMemorySpanExporter, telemetry: Telemetry
) -> None:
    telemetry.begin_call(SERVICE, "Explain")
    telemetry.end_call(SERVICE, "Explain", code="INTERNAL", seconds=0.1)
    (root,) = spans.get_finished_spans()
    assert not root.status.is_ok
    assert root.attributes is not None
    assert root.attributes["diffmask.grpc_code"] == "INTERNAL"


async def test_stages_outside_a_call_make_no_span(
    spans: InMemorySpanExporter, engine: Engine
) -> None:
    await engine.explain([TextInput(text="good")], ExplainOptions())
    assert not spans.get_finished_spans()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    # What the import system does for a module that is not there.
    for package in ("grpc", "http"):
        name = f"opentelemetry.exporter.otlp.proto.{package}.trace_exporter"
        monkeypatch.setitem(sys.modules, name, None)
    settings = TraceSettings(
        endpoint="http://127.0.0.1:1",
        protocol="grpc" if protocol == "grpc" else "http",
        sample_ratio=1.0,
    )
    with pytest.raises(StartError, match=r"diffmask-service\[tracing\]"):
        connect_tracer(settings)
