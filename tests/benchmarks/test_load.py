"""The load driver against a real server, by counts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from benchmarks.load import describe, judge, measure_capacity, sweep
from benchmarks.plots import draw_saturation
from benchmarks.servers import Server, running
from benchmarks.traffic.driving import GrpcSend, drive
from benchmarks.traffic.plan import Mix, PlannedCall, draw_plan
from benchmarks.traffic.tally import tally
from benchmarks.traffic.targets import EXPLAIN

_MIX = Mix(timeout_seconds=60.0, verified_share=0.0, cancelled_share=0.0)


@pytest.fixture(scope="module")
def server(tiny_directory: Path) -> Iterator[Server]:
    with running(tiny_directory) as started:
        yield started


def plan_of(num_calls: int) -> list[PlannedCall]:
    generator = np.random.default_rng(0)
    arrivals = [0.0] * num_calls
    return list(draw_plan(arrivals, mix=_MIX, target=EXPLAIN, generator=generator))


async def test_every_call_is_answered_and_every_text_runs_once(server: Server) -> None:
    plan = plan_of(50)
    before = await server.counters()
    async with grpc.aio.insecure_channel(server.target) as channel:
        outcomes = await drive(plan, GrpcSend(channel, EXPLAIN))
    after = await server.counters()
    assert {outcome.ending.status for outcome in outcomes} == {"OK"}
    passes = "diffmask_forward_passes_total"
    assert after[passes] - before[passes] == sum(call.num_texts for call in plan)


async def test_who_leaves_and_who_has_no_time_is_told_apart(server: Server) -> None:
    plan = plan_of(30)
    leaving = [replace(call, cancel_after_seconds=0.0) for call in plan[:10]]
    late = [replace(call, timeout_seconds=0.0) for call in plan[10:20]]
    async with grpc.aio.insecure_channel(server.target) as channel:
        outcomes = await drive(
            [*leaving, *late, *plan[20:]], GrpcSend(channel, EXPLAIN)
        )
    run = tally(outcomes, seconds=1.0)
    assert run.calls("CANCELLED") == run.calls("DEADLINE_EXCEEDED") == 10
    assert run.calls("OK") == 10


async def test_a_full_queue_refuses_with_a_hint(tiny_directory: Path) -> None:
    with running(tiny_directory, queue_tokens=1, workers=1) as small:
        async with grpc.aio.insecure_channel(small.target) as channel:
            outcomes = await drive(plan_of(100), GrpcSend(channel, EXPLAIN))
        counters = await small.counters()
    run = tally(outcomes, seconds=1.0)
    refused = run.calls("RESOURCE_EXHAUSTED")
    assert refused > 0
    assert run.calls("OK") == 100 - refused
    assert {each.hinted for each in run.statuses if each.status != "OK"} == {refused}
    assert counters["diffmask_rejected_requests_total"] == refused


async def test_capacity_is_what_answered_calls_make(server: Server) -> None:
    before = await server.counters()
    capacity = await measure_capacity(server.target, mix=_MIX, num_calls=30, callers=4)
    after = await server.counters()
    assert capacity > 0
    answered = "grpc_server_handled_total:OK"
    # The warm-up comes on top.
    assert after[answered] - before[answered] == 30 + 20


async def test_a_sweep_accounts_for_every_call(server: Server, tmp_path: Path) -> None:
    figures = await sweep(
        server.target,
        server.metrics_url,
        log=server.log,
        capacity=200.0,
        mix=_MIX,
        shares=(0.5, 1.0),
        seconds=0.2,
    )
    for run, share in zip(figures["runs"], (0.5, 1.0), strict=True):
        assert run["share"] == share
        calls = sum(status["calls"] for status in run["statuses"])
        assert calls == round(run["offered_per_second"] * 0.2)
        assert run["counted"]["passes"] == sum(s["texts"] for s in run["statuses"])
        for status in run["statuses"]:
            assert 0 <= status["server_p50_seconds"] <= status["p99_seconds"]
    assert "| offered / capacity |" in "\n".join(describe(figures))
    draw_saturation(figures, tmp_path / "load.svg")
    assert (tmp_path / "load.svg").read_text().rstrip().endswith("</svg>")


def run_of(
    share: float, goodput: float, *, refusal_seconds: float | None = None
) -> dict[str, Any]:
    refused = {
        "status": "DEADLINE_EXCEEDED",
        "calls": 3,
        "p99_seconds": refusal_seconds,
        "hinted": 3,
        "server_p99_seconds": 0.002,
    }
    statuses = [] if refusal_seconds is None else [refused]
    return {"share": share, "goodput_per_second": goodput, "statuses": statuses}


def test_the_run_at_the_largest_share_is_held_against_the_peak() -> None:
    calm = run_of(1.0, 100.0)
    _, goodput, refusals = judge([run_of(3.0, 90.0, refusal_seconds=0.009), calm])
    assert goodput.startswith("At 3 times capacity goodput is 90.0% of the peak; met:")
    assert "9.0 ms for the callers, met: at most 10 ms; 2.0 ms of it" in refusals
    _, goodput, refusals = judge([run_of(3.0, 89.0, refusal_seconds=0.011), calm])
    assert "89.0% of the peak; MISSED" in goodput
    assert "11.0 ms for the callers, MISSED" in refusals
