"""Memory is read from the process that serves."""

import random
from itertools import islice
from pathlib import Path

from benchmarks.memory import describe, draw_calls, wear_out
from benchmarks.servers import running
from diffmask_service.wire.pb import explain_pb2 as pb


def test_lengths_jump_between_the_extremes() -> None:
    lengths = {
        len(item.text.split())
        for call in islice(draw_calls(random.Random(0)), 500)
        for item in pb.ExplainRequest.FromString(call.message).inputs
    }
    assert {0, 1, 2, 12, 700} <= lengths


async def test_every_request_is_sent_and_memory_read_in_between(
    tiny_directory: Path,
) -> None:
    with running(tiny_directory, log_level="WARNING") as server:
        figures = await wear_out(server, num_requests=90, callers=4)
    assert figures["requests"] == 90
    assert [sent for sent, _ in figures["readings"]][:2] == [0, 2]
    assert figures["readings"][-1][0] == 90
    # A Python process with the libraries of the service holds tens of MiB.
    assert all(20 < mebibytes < 4096 for _, mebibytes in figures["readings"])
    first, last = figures["readings"][0][1], figures["readings"][-1][1]
    assert figures["last_over_warm_up"] == last / first
    assert "90 requests" in "\n".join(describe(figures))
