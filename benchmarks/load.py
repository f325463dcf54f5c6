"""How a server bears load: open-loop runs at fixed rates up to three times capacity.

Capacity is measured first, by callers that always wait for their answer. Then come runs
with Poisson arrivals at shares of it: texts of natural lengths, predictions and
explanations, deadlines, and callers who leave. A call's latency counts from the moment
for which it was planned. Beside what the callers saw stands what the server counted,
and how long it took over each call by its own log: callers and server may share cores,
and then a caller's figure holds the caller's own lag as well.

Refusals at the door, which carry a hint when to try again, stand apart from calls that
waited for nothing. Goodput is what was answered within its deadline.

On a machine that callers and server share, only ratios between the runs mean anything;
`--server-cores` and `--client-cores` part them.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from benchmarks.plots import draw_saturation
from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import (
    Server,
    count_log_bytes,
    read_counters,
    read_handling_seconds,
    running,
)
from benchmarks.traffic.driving import GrpcSend, drive
from benchmarks.traffic.plan import Mix, draw_plan, poisson_arrivals
from benchmarks.traffic.tally import tally
from benchmarks.traffic.targets import EXPLAIN, Target

_SHARES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_COUNTED = {
    "passes": "diffmask_forward_passes_total",
    "expired": "diffmask_expired_texts_total",
    "rejected": "diffmask_rejected_requests_total",
}
_OF_RUN = ("share", "offered_per_second", "goodput_per_second")
_OF_STATUS = ("calls", "p50_seconds", "p90_seconds", "p99_seconds")
_OF_SERVER = ("server_p50_seconds", "server_p99_seconds")
# What a server owes its callers when it is offered three times what it can do.
_GOODPUT_SHARE = 0.9
_REFUSAL_SECONDS = 0.01
# Enough that the channel opens and the graph has seen its longest text.
_WARM_UP_CALLS = 20


def main() -> None:
    """Measure capacity, then every share of it, and print the tables."""
    arguments = _parse()
    if arguments.client_cores:
        os.sched_setaffinity(0, map(int, arguments.client_cores.split(",")))
    with running(
        arguments.bundle,
        cores=arguments.server_cores,
        **dict(setting.split("=", 1) for setting in arguments.set),
    ) as server:
        figures = asyncio.run(_measure(server, arguments))
    print("\n".join(describe(figures)))
    store("load", figures, arguments=arguments)
    if arguments.plot is not None:
        draw_saturation(figures, arguments.plot)


async def _measure(server: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    mix = Mix(
        timeout_seconds=arguments.timeout_seconds,
        cancelled_share=arguments.cancelled_share,
    )
    capacity = await measure_capacity(
        server.target,
        mix=mix,
        num_calls=arguments.capacity_calls,
        callers=arguments.callers,
        seed=arguments.seed,
    )
    return await sweep(
        server.target,
        server.metrics_url,
        log=server.log,
        capacity=capacity,
        mix=mix,
        shares=arguments.shares,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )


async def measure_capacity(
    server: str,
    *,
    mix: Mix,
    num_calls: int,
    callers: int,
    seed: int = 0,
    target: Target = EXPLAIN,
) -> float:
    """Return the calls a second that a server answers when it is never idle.

    Args:
        server: What the channel connects to.
        mix: What the calls are like; nobody leaves and deadlines are long.
        num_calls: How many calls.
        callers: How many of them are on their way at a time.
        seed: Of the calls.
        target: The method that is called.
    """
    patient = replace(mix, cancelled_share=0.0, timeout_seconds=120.0)
    generator = np.random.default_rng(seed)
    plan = draw_plan(
        [0.0] * (num_calls + _WARM_UP_CALLS),
        mix=patient,
        target=target,
        generator=generator,
    )
    async with _sending(server, target) as send:
        await drive(plan[:_WARM_UP_CALLS], send)
        waiting = iter(plan[_WARM_UP_CALLS:])

        async def call_again_and_again() -> None:
            for call in waiting:
                ending = await send(call)
                if ending.status != "OK":
                    raise RuntimeError(f"a call at capacity ended in {ending.status}")

        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(call_again_and_again() for _ in range(callers)))
        return num_calls / (loop.time() - began)


async def sweep(
    server: str,
    metrics_url: str,
    *,
    log: Path,
    capacity: float,
    mix: Mix,
    shares: Sequence[float] = _SHARES,
    seconds: float,
    seed: int = 0,
    target: Target = EXPLAIN,
) -> dict[str, Any]:
    """Load a server with shares of its capacity, one after the other.

    Args:
        server: What the channel connects to.
        metrics_url: Where the server's counters are.
        log: Its log, with a line for every call.
        capacity: Calls a second.
        mix: What the calls are like.
        shares: Of capacity, > 0.
        seconds: Length of each plan, seconds.
        seed: Of the plans.
        target: The method that is called.
    """
    generator = np.random.default_rng(seed)
    runs = []
    async with _sending(server, target) as send:
        for share in shares:
            arrivals = poisson_arrivals(
                share * capacity, seconds=seconds, generator=generator
            )
            plan = draw_plan(arrivals, mix=mix, target=target, generator=generator)
            before = await asyncio.to_thread(read_counters, metrics_url)
            logged_bytes = count_log_bytes(log)
            outcomes = await drive(plan, send)
            after = await asyncio.to_thread(read_counters, metrics_url)
            counted = {
                key: after[name] - before[name] for key, name in _COUNTED.items()
            }
            taken = read_handling_seconds(log, after_bytes=logged_bytes)
            run = asdict(tally(outcomes, seconds=seconds, server_seconds=taken))
            runs.append({"share": share, **run, "counted": counted})
    return {"capacity_per_second": capacity, "runs": runs}


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    head = ["offered / capacity", "offered /s", "goodput /s", "ended in", "calls"]
    head += ["p50 s", "p90 s", "p99 s", "server's p50 s", "server's p99 s"]
    rows = [
        [
            *(run[key] for key in _OF_RUN),
            each["status"] + (", at the door" if _is_refusal(each) else ""),
            *(each[key] for key in _OF_STATUS),
            *("" if each.get(key) is None else each[key] for key in _OF_SERVER),
        ]
        for run in figures["runs"]
        for each in run["statuses"]
    ]
    counted = [
        [run["share"], *run["counted"].values(), run["lag_p99_seconds"]]
        for run in figures["runs"]
    ]
    return [
        f"Capacity, closed loop: {figures['capacity_per_second']:.1f} calls a second.",
        "",
        *table(head, rows),
        "",
        "What the server counted, and how late the driver was:",
        "",
        *table(["offered / capacity", *_COUNTED, "driver's lag p99 s"], counted),
        *judge(figures["runs"]),
    ]


def judge(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the run at the largest share shows, held against the targets.

    Args:
        runs: All of them; the peak is the best of any.
    """
    if not runs:
        return []
    most = max(runs, key=lambda run: run["share"])
    peak = max(run["goodput_per_second"] for run in runs)
    share = most["goodput_per_second"] / peak if peak else 0.0
    lines = [
        f"At {most['share']:g} times capacity goodput is {share:.1%} of the peak;"
        f" {_verdict(share >= _GOODPUT_SHARE)}: at least {_GOODPUT_SHARE:.0%}."
    ]
    for each in filter(_is_refusal, most["statuses"]):
        at_server = each.get("server_p99_seconds")
        lines.append(
            f"{each['calls']:,} refusals with {each['status']}: p99 is"
            f" {each['p99_seconds'] * 1000:.1f} ms for the callers,"
            f" {_verdict(each['p99_seconds'] <= _REFUSAL_SECONDS)}: at most"
            f" {_REFUSAL_SECONDS * 1000:.0f} ms"
            + (
                f"; {at_server * 1000:.1f} ms of it at the server."
                if at_server is not None
                else "."
            )
        )
    return ["", *lines]


def _is_refusal(part: Mapping[str, Any]) -> bool:
    return bool(part["calls"] and part["hinted"] == part["calls"])


def _verdict(is_met: bool) -> str:  # noqa: FBT001 - a predicate's result
    return "met" if is_met else "MISSED"


@asynccontextmanager
async def _sending(server: str, target: Target) -> AsyncIterator[GrpcSend]:
    async with grpc.aio.insecure_channel(server) as channel:
        yield GrpcSend(channel, target)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the server, such as queue_tokens=4096; may be repeated",
    )
    parser.add_argument(
        "--shares", type=float, nargs="+", default=_SHARES, help="of capacity"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="[%(default)s]")
    parser.add_argument(
        "--capacity-calls", type=int, default=1000, help="[%(default)s]"
    )
    parser.add_argument(
        "--callers", type=int, default=16, help="to measure capacity [%(default)s]"
    )
    parser.add_argument("--timeout-seconds", type=float, default=2.0)
    parser.add_argument("--cancelled-share", type=float, default=0.02)
    parser.add_argument("--server-cores", default="", help="such as 0,1 [all]")
    parser.add_argument("--client-cores", default="", help="such as 2,3 [all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="draw the sweep as an SVG file")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
