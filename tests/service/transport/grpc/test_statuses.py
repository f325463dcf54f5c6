"""The table of situations and statuses, row by row, through real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from diffmask_service.app import open_engine
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import bind, build_server
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.scripted import ANYWHERE

EXPLAIN = "/diffmask.v1.Explainer/Explain"
SETTINGS = replace(ANYWHERE, max_message_bytes=4096, max_metadata_bytes=1024)


@dataclass(frozen=True)
class Running:
    channel: grpc.aio.Channel
    engine: Engine


@pytest.fixture
async def running(tiny_directory: Path, telemetry: Telemetry) -> AsyncIterator[Running]:
    limits = EngineLimits(queue_tokens=1, max_texts=2, max_text_bytes=100)
    engine = open_engine(tiny_directory, limits=limits, telemetry=telemetry)
    server = build_server(
        Repository([engine]),
        HealthServicer(()),
        telemetry=telemetry,
        settings=SETTINGS,
        stopping=asyncio.Event(),
    )
    port = bind(server, SETTINGS)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(channel, engine)
    await server.stop(None)
    engine.close()


Call = grpc.aio.UnaryUnaryCall[bytes, bytes]


def call(
    running: Running,
    request: pb.ExplainRequest | bytes,
    path: str = EXPLAIN,
    *,
    seconds: float | None = 60.0,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Call:
    raw = request if isinstance(request, bytes) else request.SerializeToString()
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = (
        running.channel.unary_unary(path)
    )
    return method(raw, timeout=seconds, metadata=metadata)


def request(*texts: str, **fields: object) -> pb.ExplainRequest:
    inputs = [pb.TextInput(text=text) for text in texts]
    return pb.ExplainRequest(inputs=inputs, **fields)  # type: ignore[arg-type]


def options(**fields: object) -> pb.ExplainRequest:
    return request("good", options=pb.ExplainOptions(**fields))  # type: ignore[arg-type]


PAIR = pb.ExplainRequest(inputs=[pb.TextInput(text="a", text_pair="b")])

ROWS: list[tuple[str, pb.ExplainRequest | bytes, str, str]] = [
    ("answered", request("good"), "OK", ""),
    ("no text", request(), "INVALID_ARGUMENT", "inputs: is empty"),
    ("empty text", request(" "), "INVALID_ARGUMENT", "inputs[0].text is empty"),
    ("too many tokens", request("a " * 20), "INVALID_ARGUMENT", "22 tokens"),
    ("too many bytes", request("a" * 101), "INVALID_ARGUMENT", "at most 100"),
    ("too many texts", request("a", "a", "a"), "INVALID_ARGUMENT", "at most 2"),
    ("unreadable text", request("\x00"), "INVALID_ARGUMENT", "inputs[0]"),
    ("pair for single texts", PAIR, "INVALID_ARGUMENT", "text_pair"),
    ("not UTF-8", b"\x1a\x03\x0a\x01\xff", "INVALID_ARGUMENT", "not UTF-8"),
    ("no message", b"\x1a\x7f", "INVALID_ARGUMENT", "not a valid message"),
    ("unknown gate", options(gates=[9]), "INVALID_ARGUMENT", "options.gates: 9"),
    ("unknown unit", options(granularity=9), "INVALID_ARGUMENT", "granularity: 9"),
    ("top 0", options(top_k=0), "INVALID_ARGUMENT", "options.top_k: is 0"),
    ("top without gates", options(top_k=1), "INVALID_ARGUMENT", "top_k"),
    (
        "state twice",
        options(gates=[1], states=["block_1", "block_1"]),
        "INVALID_ARGUMENT",
        "'block_1' twice",
    ),
    ("unknown state", options(gates=[1], states=["attic"]), "NOT_FOUND", "'attic'"),
    ("unknown model", request("a", model="huge"), "NOT_FOUND", "'huge'"),
    ("unknown version", request("a", version="9"), "NOT_FOUND", "'9'"),
    ("too large a message", request("a" * 5000), "RESOURCE_EXHAUSTED", "larger than"),
]


@pytest.mark.parametrize(
    ("sent", "code", "words"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
async def test_what_is_sent_has_its_status(
    running: Running, sent: pb.ExplainRequest | bytes, code: str, words: str
) -> None:
    made = call(running, sent)
    assert (await made.code()).name == code
    assert words in str(await made.details())
    # Only what waiting cures has a hint.
    assert "grpc-retry-pushback-ms" not in dict(await made.trailing_metadata())


async def test_headers_over_the_limit_are_refused(running: Running) -> None:
    made = call(running, request("good"), metadata=(("x-much", "a" * 3000),))
    assert await made.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_method_that_is_not_offered_is_unimplemented(running: Running) -> None:
    made = call(running, b"", "/diffmask.v1.Explainer/Guess")
    assert await made.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_full_queue_refuses_with_a_hint(running: Running) -> None:
    crowd = [call(running, request("good")) for _ in range(60)]
    codes = [await made.code() for made in crowd]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    for code, made in zip(codes, crowd, strict=True):
        trailers = dict(await made.trailing_metadata())
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            assert int(trailers["grpc-retry-pushback-ms"]) >= 50


async def test_a_draining_server_is_unavailable_with_a_hint(running: Running) -> None:
    await running.engine.drain(0.0)
    made = call(running, request("good"))
    assert await made.code() is grpc.StatusCode.UNAVAILABLE
    trailers = dict(await made.trailing_metadata())
    assert trailers["grpc-retry-pushback-ms"] == "500"


async def test_a_deadline_that_passes_is_no_failure_of_ours(running: Running) -> None:
    made = call(running, request("good"), seconds=1e-6)
    assert await made.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_caller_that_leaves_ends_cancelled(running: Running) -> None:
    made = call(running, request("good"))
    made.cancel()
    with pytest.raises(asyncio.CancelledError):
        await made
    assert await made.code() is grpc.StatusCode.CANCELLED


async def test_every_reply_and_refusal_carries_the_request_id(
    running: Running,
) -> None:
    for sent in (request("good"), request()):
        made = call(running, sent, metadata=(("x-request-id", "trace-1"),))
        assert dict(await made.trailing_metadata())["x-request-id"] == "trace-1"
