"""ExplainStream over a real socket, out of a real engine."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from diffmask_service.engine import Engine
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSettings,
    bind,
    build_server,
)
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.tiny import tiny_logits

PATH = f"/{SERVICE.full_name}/ExplainStream"
SETTINGS = GrpcSettings(
    host="127.0.0.1",
    port=0,
    max_message_bytes=4096,
    has_reflection=False,
    stream_window=3,
)
Method = Any


@asynccontextmanager
async def streaming(
    engine: Engine, telemetry: Telemetry, stopping: asyncio.Event
) -> AsyncIterator[Method]:
    server = build_server(
        Repository([engine]),
        HealthServicer(()),
        telemetry=telemetry,
        settings=SETTINGS,
        stopping=stopping,
    )
    port = bind(server, SETTINGS)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.stream_stream(
                PATH,
                lambda sent: (
                    sent if isinstance(sent, bytes) else sent.SerializeToString()
                ),
                pb.ExplainStreamResponse.FromString,
            )
    finally:
        await server.stop(None)


@pytest.fixture
def stopping() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def method(
    engine: Engine, telemetry: Telemetry, stopping: asyncio.Event
) -> AsyncIterator[Method]:
    async with streaming(engine, telemetry, stopping) as opened:
        yield opened


def request(key: str, *texts: str, **fields: Any) -> pb.ExplainStreamRequest:
    inputs = [pb.TextInput(text=text) for text in texts]
    return pb.ExplainStreamRequest(
        id=key, request=pb.ExplainRequest(inputs=inputs), **fields
    )


async def replies(
    method: Method, requests: Iterable[pb.ExplainStreamRequest | bytes]
) -> list[pb.ExplainStreamResponse]:
    return [each async for each in method(iter(requests))]


async def test_replies_come_in_order_with_their_ids(method: Method) -> None:
    texts = ["good", "bad", "a good movie", "dull"] * 5
    sent = [request(f"id {i}", text) for i, text in enumerate(texts)]
    seen = await replies(method, sent)
    assert [each.id for each in seen] == [each.id for each in sent]
    for text, each in zip(texts, seen, strict=True):
        (explanation,) = each.response.explanations
        expected = tiny_logits(("[CLS]", *text.split(), "[SEP]")).tolist()
        assert list(explanation.prediction.logits) == expected


@pytest.mark.parametrize(
    ("bad", "code", "words"),
    [
        (request("x", ""), grpc.StatusCode.INVALID_ARGUMENT, "is empty"),
        (request("x"), grpc.StatusCode.INVALID_ARGUMENT, "inputs: is empty"),
        (request("x", "a " * 50), grpc.StatusCode.INVALID_ARGUMENT, "52 tokens"),
        (
            request("x", "a", timeout_seconds=-1.0),
            grpc.StatusCode.INVALID_ARGUMENT,
            "timeout_seconds",
        ),
        (
            pb.ExplainStreamRequest(
                id="x",
                request=pb.ExplainRequest(
                    model="huge", inputs=[pb.TextInput(text="a")]
                ),
            ),
            grpc.StatusCode.NOT_FOUND,
            "no model 'huge'",
        ),
        (
            request("x", "a", timeout_seconds=1e-9),
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "the deadline passed",
        ),
    ],
)
async def test_an_error_is_a_reply_and_the_stream_goes_on(
    method: Method,
    bad: pb.ExplainStreamRequest,
    code: grpc.StatusCode,
    words: str,
) -> None:
    before, failed, after = await replies(
        method, [request("1", "good"), bad, request("3", "good")]
    )
    assert before.HasField("response")
    assert after.HasField("response")
    assert failed.id == "x"
    assert failed.failure.code == code.value[0]
    assert words in failed.failure.message
    assert not failed.failure.HasField("retry_after_seconds")


async def test_bytes_that_are_no_message_fail_alone(method: Method) -> None:
    failed, after = await replies(method, [b"\x0a\x02\xff\xff", request("2", "good")])
    assert failed.failure.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert after.id == "2"
    assert after.HasField("response")


async def test_a_stop_answers_what_was_taken_and_says_when_to_come_back(
    method: Method, stopping: asyncio.Event
) -> None:
    call = method()
    await call.write(request("1", "good"))
    assert (await call.read()).id == "1"
    stopping.set()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    trailers = dict(raised.value.trailing_metadata())
    assert trailers["grpc-retry-pushback-ms"] == "500"
    assert "x-request-id" in trailers


async def test_a_drained_engine_fails_each_request_with_a_hint(
    method: Method, engine: Engine
) -> None:
    await engine.drain(0.0)
    (failed,) = await replies(method, [request("1", "good")])
    assert failed.failure.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert failed.failure.retry_after_seconds == 0.5


async def test_streams_are_counted_as_streams_and_each_request_is_logged(
    method: Method, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "diffmask_service.access")
    await replies(method, [request("1", "good"), request("2", "")])
    labels = {
        "grpc_type": "bidi_stream",
        "grpc_service": SERVICE.full_name,
        "grpc_method": "ExplainStream",
        "grpc_code": "OK",
    }
    value = telemetry.registry.get_sample_value("grpc_server_handled_total", labels)
    assert value == 1
    messages = [record.getMessage() for record in caplog.records]
    # By request, as either may end first.
    lines = [*sorted(messages[:2]), messages[2]]
    assert "method=ExplainStream/request code=OK texts=1" in lines[0]
    assert "method=ExplainStream/request code=INVALID_ARGUMENT texts=0" in lines[1]
    assert "method=ExplainStream code=OK texts=1 tokens=3" in lines[2]
    whole = lines[2].split()[0]
    assert [line.split()[0] for line in lines[:2]] == [f"{whole}.1", f"{whole}.2"]
