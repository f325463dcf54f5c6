"""No text, token or gate reaches a log, a metric or the words of an error.

Canaries go in through every field and fail in every way; then everything that comes
out, but for the answers themselves, is searched for them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from prometheus_client import generate_latest

from diffmask_service.app import open_engine
from diffmask_service.core.values import Reply
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.errors import InferenceError
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    GrpcSecurity,
    bind,
    build_server,
)
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.scripted import ANYWHERE, Scripted, serving

CANARY = "Canary"
TEXT = f"the {CANARY} sang, of 7 secrets"
EXPLAIN = "/diffmask.v1.Explainer/Explain"
STREAM = "/diffmask.v1.Explainer/ExplainStream"
TOKEN = "inference-token-0123456789"
RIGHT = (("authorization", f"Bearer {TOKEN}"),)


@dataclass
class Heard:
    """Everything that callers were told beside answers."""

    words: list[str] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)

    async def call(
        self,
        channel: grpc.aio.Channel,
        path: str,
        message: Any,
        metadata: tuple[tuple[str, str], ...] = RIGHT,
        seconds: float = 30.0,
    ) -> None:
        raw = message if isinstance(message, bytes) else message.SerializeToString()
        # What takes a stream takes this on the wire as well. Sent as a stream, it would
        # race against a refusal, and gRPC's client calls a lost race INTERNAL.
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            path
        )
        call = method(raw, metadata=metadata, timeout=seconds)
        replies: list[Any] = []
        try:
            while (reply := await call.read()) is not grpc.aio.EOF:
                replies.append(reply)
        except grpc.aio.AioRpcError as error:
            self.words.append(repr(error))
        if path == STREAM:
            parsed = map(pb.ExplainStreamResponse.FromString, replies)
            self._note_failures([each for each in parsed if each.HasField("failure")])
        self.words.append(str(await call.details()))
        self.words.append(str(await call.trailing_metadata()))
        self.codes.add((await call.code()).name)

    def _note_failures(self, failed: list[pb.ExplainStreamResponse]) -> None:
        status_by_number = {each.value[0]: each.name for each in grpc.StatusCode}
        self.words += [each.failure.message for each in failed]
        self.codes |= {status_by_number[each.failure.code] for each in failed}


def request(text: str = TEXT, **fields: Any) -> pb.ExplainRequest:
    inputs = fields.pop("inputs", [pb.TextInput(text=text)])
    return pb.ExplainRequest(inputs=inputs, **fields)


def options(**fields: Any) -> pb.ExplainRequest:
    return request("good", options=pb.ExplainOptions(**fields))


def bad_requests() -> Iterator[pb.ExplainRequest | bytes]:
    yield request()
    yield request(" ".join([TEXT] * 9))
    yield request(TEXT * 900)
    yield request(inputs=[pb.TextInput(text=TEXT)] * 40)
    yield request(inputs=[pb.TextInput(text=TEXT, text_pair=TEXT)])
    yield request(inputs=[pb.TextInput(text=TEXT), pb.TextInput(text=" ")])
    yield request(model=TEXT)
    yield request(version=TEXT)
    yield request(model=CANARY * 20)
    yield options(states=[TEXT])
    yield options(states=[TEXT, TEXT])
    yield options(gates=[1], verify=pb.VerifyOptions(states=[TEXT]))
    yield options(granularity=9)
    yield options(top_k=0)
    # A text that is not UTF-8, and a message that breaks off.
    raw = CANARY.encode() + b"\xff"
    inner = b"\x0a" + bytes([len(raw)]) + raw
    yield b"\x1a" + bytes([len(inner)]) + inner
    yield request().SerializeToString()[:-3]


def streamed(message: pb.ExplainRequest | bytes) -> bytes:
    # Field 1 is the id, field 2 the request; a caller's id is nobody's business.
    raw = message if isinstance(message, bytes) else message.SerializeToString()
    head = pb.ExplainStreamRequest(id=TEXT).SerializeToString()
    return head + b"\x12" + _varint(len(raw)) + raw


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


@pytest.fixture
async def guarded(
    tiny_directory: Path, telemetry: Telemetry, tmp_path: Path
) -> AsyncIterator[tuple[grpc.aio.Channel, Engine]]:
    (tmp_path / "tokens").write_text(TOKEN)
    settings = replace(
        ANYWHERE, security=GrpcSecurity(inference_tokens=tmp_path / "tokens")
    )
    limits = EngineLimits(queue_tokens=1)
    engine = open_engine(tiny_directory, limits=limits, telemetry=telemetry)
    server = build_server(
        Repository([engine]),
        HealthServicer(()),
        telemetry=telemetry,
        settings=settings,
        stopping=asyncio.Event(),
    )
    port = bind(server, settings)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, engine
    await server.stop(None)
    engine.close()


@pytest.fixture
def everything(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Any:
    """What the process has written anywhere."""
    caplog.set_level(logging.DEBUG)

    def collect() -> str:
        written = capfd.readouterr()
        records = [logging.Formatter().format(record) for record in caplog.records]
        return "\n".join([*records, written.out, written.err])

    return collect


async def test_requests_that_fail_leave_no_text_behind(
    guarded: tuple[grpc.aio.Channel, Engine], telemetry: Telemetry, everything: Any
) -> None:
    channel, engine = guarded
    heard = Heard()
    for message in bad_requests():
        await heard.call(channel, EXPLAIN, message)
        await heard.call(channel, STREAM, streamed(message))
    await heard.call(channel, EXPLAIN, request("a" * (2 << 20) + CANARY))
    # The first may be answered in time; the second is late before it is sent.
    for seconds in (1e-4, 0.0):
        await heard.call(channel, EXPLAIN, request(), seconds=seconds)
    crowd = [heard.call(channel, EXPLAIN, request()) for _ in range(40)]
    await asyncio.gather(*crowd)
    for path in ("GetModel", "Guess", CANARY):
        about = pb.GetModelRequest(model=TEXT, version=TEXT)
        await heard.call(channel, f"/diffmask.v1.Explainer/{path}", about)
    probe = health_pb2.HealthCheckRequest(service=TEXT)
    await heard.call(channel, "/grpc.health.v1.Health/Check", probe)
    await heard.call(channel, "/grpc.health.v1.Health/Check", b"\x0a\x07Canary\xff")
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    await heard.call(channel, reflection, b"\x1a\x07Canary\xff")
    await engine.drain(0.0)
    await heard.call(channel, EXPLAIN, request())
    shown = generate_latest(telemetry.registry).decode()
    for place in (*heard.words, everything(), shown):
        assert CANARY not in place
    assert heard.codes >= {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "RESOURCE_EXHAUSTED",
        "DEADLINE_EXCEEDED",
        "UNAVAILABLE",
        "UNIMPLEMENTED",
    }


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", f"Bearer {CANARY}-0123456789-0123456789"),),
        (("authorization", CANARY),),
        (("x-request-id", TEXT), ("x-custom", TEXT)),
    ],
)
async def test_tokens_and_headers_are_kept_nowhere(
    guarded: tuple[grpc.aio.Channel, Engine],
    telemetry: Telemetry,
    everything: Any,
    metadata: tuple[tuple[str, str], ...],
) -> None:
    heard = Heard()
    for path in (EXPLAIN, STREAM, f"/{CANARY}/{CANARY}"):
        await heard.call(guarded[0], path, request(), metadata=metadata)
    shown = generate_latest(telemetry.registry).decode()
    for place in (*heard.words, everything(), shown):
        assert CANARY not in place
        assert TOKEN not in place
    assert heard.codes == {"UNAUTHENTICATED"}


def failures() -> Iterator[Exception]:
    yield KeyError(TEXT)
    yield UnicodeEncodeError("utf-8", TEXT, 0, 1, TEXT)
    failed = InferenceError("the graph failed to run")
    failed.__cause__ = RuntimeError(f"cannot run on {TEXT}")
    yield failed
    grouped = ExceptionGroup(TEXT, [ValueError(TEXT)])
    grouped.add_note(TEXT)
    yield grouped


@pytest.mark.parametrize("error", [*failures()], ids=lambda e: type(e).__name__)
async def test_failures_of_ours_quote_nothing(
    error: Exception, telemetry: Telemetry, everything: Any
) -> None:
    async def fail() -> Reply:
        try:
            int(TEXT)
        finally:
            # Its context could leak as well.
            raise error

    heard = Heard()
    async with (
        serving(Scripted(fail), telemetry=telemetry) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        await heard.call(channel, EXPLAIN, request())
        await heard.call(channel, STREAM, streamed(request()))
    written = everything()
    shown = generate_latest(telemetry.registry).decode()
    for place in (*heard.words, written, shown):
        assert CANARY not in place
    # The stream itself ends well.
    assert heard.codes == {"INTERNAL", "OK"}
    # What an operator needs is there all the same: what failed, and where.
    assert f"{type(error).__module__}.{type(error).__qualname__}" in written
    assert "in fail" in written


async def test_a_short_name_is_repeated_to_the_one_who_sent_it(
    guarded: tuple[grpc.aio.Channel, Engine],
) -> None:
    heard = Heard()
    await heard.call(guarded[0], EXPLAIN, request("good", model="huge/v2"))
    assert "no model 'huge/v2'" in "".join(heard.words)
