"""A short attack on a real server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import pytest

from benchmarks.fuzz import (
    ALLOWED,
    ALLOWED_IN_STREAM,
    Fuzzed,
    call_stream,
    describe,
    fuzz,
)
from benchmarks.fuzzing.attacks import Attack
from benchmarks.fuzzing.canary import Canary
from benchmarks.fuzzing.methods import METHODS, Method
from benchmarks.servers import Server, running


@pytest.fixture(scope="module")
def server(tiny_directory: Path) -> Iterator[Server]:
    with running(tiny_directory, log_level="WARNING") as started:
        yield started


async def test_a_short_attack_finds_nothing(server: Server) -> None:
    fuzzed = await fuzz(server, num_messages=600, num_streams=300, seed=7)
    assert fuzzed.failures == []
    assert fuzzed.statuses.total() == 600
    assert fuzzed.statuses.keys() <= ALLOWED_IN_STREAM
    assert fuzzed.statuses["OK"] > 0
    assert fuzzed.statuses["INVALID_ARGUMENT"] > 0
    assert fuzzed.num_streams >= 300
    # Before everything, after the messages and after the streams.
    assert fuzzed.num_canaries == 3


async def test_a_changed_answer_is_noticed(server: Server) -> None:
    async with grpc.aio.insecure_channel(server.target) as channel:
        canary = Canary(channel, timeout_seconds=60.0)
        assert await canary.check() == ""
        assert await canary.check() == ""
        expected = canary._expected
        assert expected is not None
        values = expected.explanations[0].input_gates.values
        expected.explanations[0].input_gates.values = (
            bytes([values[0] ^ 1]) + values[1:]
        )
        assert await canary.check() == "the canary's answer has changed"


def test_failures_are_listed() -> None:
    figures = {
        "statuses": {"OK": 1},
        "frames": {},
        "streams": 0,
        "canaries": 1,
        "failures": ["/a/b ended in INTERNAL: 00"],
    }
    assert "- /a/b ended in INTERNAL: 00" in describe(figures)


def test_a_status_that_no_caller_earns_is_a_failure() -> None:
    fuzzed = Fuzzed()
    attack = Attack(method=METHODS[0], messages=[b"\x00", b"\xab"])
    fuzzed.count(attack, 0, "OK", allowed=ALLOWED)
    fuzzed.count(attack, 1, "INTERNAL", allowed=ALLOWED)
    fuzzed.count(attack, 1, "DEADLINE_EXCEEDED", allowed=ALLOWED)
    assert fuzzed.failures == [
        "/diffmask.v1.Explainer/Explain ended in INTERNAL: ab",
        "/diffmask.v1.Explainer/Explain ended in DEADLINE_EXCEEDED: ab",
    ]
    assert fuzzed.statuses == {"OK": 1, "INTERNAL": 1, "DEADLINE_EXCEEDED": 1}


async def test_a_stream_that_ends_without_its_answers_is_a_failure() -> None:
    async def fall_silent(
        requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        # To the end: gRPC's client calls a write that meets the end INTERNAL.
        async for _ in requests:
            pass
        yield b""

    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = (
        grpc.stream_stream_rpc_method_handler(fall_silent)
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("a.b", {"Answer": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    fuzzed = Fuzzed()
    silent = Method(path="/a.b/Answer", seeds=(), read_status=lambda _: "OK")
    attack = Attack(method=silent, messages=[b"\x01", b"\x02", b"\x03"])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await call_stream(channel, attack, lambda _: "OK", fuzzed)
    await server.stop(None)
    assert fuzzed.statuses == {"OK": 1, "no answer": 2}
    assert fuzzed.failures == [
        "/a.b/Answer ended in no answer: 02",
        "/a.b/Answer ended in no answer: 03",
    ]
