"""A short attack on a real server."""

from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from benchmarks.fuzz import ALLOWED, describe, fuzz
from benchmarks.fuzzing.canary import Canary
from benchmarks.servers import Server, running


@pytest.fixture(scope="module")
def server(tiny_directory: Path) -> Iterator[Server]:
    with running(tiny_directory, log_level="WARNING") as started:
        yield started


async def test_a_short_attack_finds_nothing(server: Server) -> None:
    fuzzed = await fuzz(server, num_messages=600, num_streams=300, seed=7)
    assert fuzzed.failures == []
    assert fuzzed.statuses.total() == 600
    assert fuzzed.statuses.keys() <= ALLOWED
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
