"""What callers notice when servers are killed, stopped, clogged or left alone.

Two servers behind balancing by the client, in processes of their own:

- killed: one is killed under load and started again; only calls on their way may fail,
  and within five seconds of being ready it answers again;
- killed, with retries: the same, and with the client's policy no call may fail;
- rolled: one after the other is told to stop under load and started again; with
  retries no call may fail, and every process must end well;
- cancelled: half of the callers leave; texts of those who left are not run;
- unread: many callers do not read their answers; the others must not notice;
- full: far more calls at once than the queue takes; all are answered or refused with a
  hint, and with retries that obey the hint more are answered.

Prints counts.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np

from benchmarks.fuzzing.frames import PREFACE, SETTINGS, frame, whole_call
from benchmarks.replicas import Replicas, balanced_channel, running_replicas
from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import Server, running
from benchmarks.traffic.crowd import Crowd
from benchmarks.traffic.driving import GrpcSend, Outcome, drive
from benchmarks.traffic.plan import Mix, draw_plan
from benchmarks.traffic.tally import Tally, tally
from benchmarks.traffic.targets import EXPLAIN

Figures = dict[str, Any]

_PASSES = "diffmask_forward_passes_total"
_CALLERS = 8
# A window of zero: the server may answer and not send.
_NO_WINDOW = frame(SETTINGS, b"\x00\x04\x00\x00\x00\x00")
_CALLS_OF_A_READER = 20
# What may be so much at most, by scenario.
_AT_MOST: Mapping[str, Mapping[str, float]] = {
    "killed": {
        "failed, begun after the kill": 0,
        "seconds from ready to the first answer": 5,
    },
    "killed, with retries": {"failed": 0, "seconds from ready to the first answer": 5},
    "rolled": {"failed": 0, "ended badly": 0},
    "cancelled": {"failed": 0},
    "unread": {"failed": 0},
    "full": {"failed": 0, "refused without a hint": 0},
}


def main() -> None:
    """Run the scenarios, print their counts, and fail if a promise is broken."""
    arguments = _parse()
    scenarios: Mapping[str, Callable[[], Awaitable[Figures]]] = {
        "killed": lambda: kill(arguments.bundle, calls=arguments.calls),
        "killed, with retries": lambda: kill(
            arguments.bundle, calls=arguments.calls, retries=True
        ),
        "rolled": lambda: roll(
            arguments.bundle, rounds=arguments.rounds, calls=arguments.calls
        ),
        "cancelled": lambda: cancel(arguments.bundle, calls=arguments.calls),
        "unread": lambda: leave_unread(
            arguments.bundle, readers=arguments.readers, calls=arguments.calls
        ),
        "full": lambda: fill(arguments.bundle, calls=arguments.calls),
    }
    figures = {name: asyncio.run(_awaited(scenarios[name])) for name in arguments.only}
    print("\n".join(describe(figures)))
    store("chaos", figures, arguments=arguments)
    sys.exit(1 if broken_promises(figures) else 0)


def describe(figures: Mapping[str, Figures]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [
        [scenario, name, value]
        for scenario, counts in figures.items()
        for name, value in counts.items()
    ]
    return [*table(["scenario", "what", "figure"], rows), "", *broken_promises(figures)]


def broken_promises(figures: Mapping[str, Figures]) -> list[str]:
    """Return a line for each figure that is more than it may be."""
    return [
        f"- {scenario}: {name} may be {most} at most and is {figures[scenario][name]}"
        for scenario, most_by_name in _AT_MOST.items()
        if scenario in figures
        for name, most in most_by_name.items()
        if figures[scenario][name] > most
    ]


async def kill(bundle: Path, *, calls: int, retries: bool = False) -> Figures:
    """Kill one of two servers under load, and start it again.

    Args:
        bundle: What they serve.
        calls: How many end before, and how many between the kill and the new start.
        retries: Whether calls that were lost are sent again.
    """
    with running_replicas(bundle, log_level="WARNING") as replicas:
        async with (
            replicas.channel(retries=retries) as channel,
            _crowd(channel) as crowd,
        ):
            await crowd.wait_for_more(calls)
            replicas.servers[0].kill()
            last_before, in_flight = crowd.begun, len(crowd.in_flight)
            await crowd.wait_for_more(calls)
            seconds = await _bring_back(replicas, 0, crowd)
            await crowd.wait_for_more(calls)
    late = [each for each in crowd.failures if each.number >= last_before]
    return {
        "calls": crowd.ended,
        "on their way at the kill": in_flight,
        "failed": len(crowd.failures),
        "failed, begun after the kill": len(late),
        "failed with": _reasons(crowd),
        "seconds from ready to the first answer": seconds,
    }


async def roll(
    bundle: Path, *, rounds: int, calls: int, retries: bool = True
) -> Figures:
    """Stop one server after the other under load, and start each again.

    Args:
        bundle: What they serve.
        rounds: How many stops.
        calls: How many end before each.
        retries: Whether calls that were refused are sent again.
    """
    statuses = []
    with running_replicas(bundle, log_level="WARNING") as replicas:
        async with (
            replicas.channel(retries=retries) as channel,
            _crowd(channel) as crowd,
        ):
            for number in range(rounds):
                place = number % len(replicas.servers)
                await crowd.wait_for_more(calls)
                replicas.servers[place].terminate()
                process = replicas.servers[place].process
                statuses.append(await asyncio.to_thread(process.wait))
                await _bring_back(replicas, place, crowd)
    return {
        "stops": rounds,
        "calls": crowd.ended,
        "failed": len(crowd.failures),
        "failed with": _reasons(crowd),
        "ended badly": sum(status != 0 for status in statuses),
    }


async def cancel(bundle: Path, *, calls: int, within_seconds: float = 0.2) -> Figures:
    """Let half of the callers leave.

    Args:
        bundle: What is served.
        calls: How many, all sent at once.
        within_seconds: They leave within this time, seconds.
    """
    mix = Mix(
        predicted_share=0.5,
        verified_share=0.0,
        timeout_seconds=600.0,
        cancelled_share=0.5,
        cancel_within_seconds=within_seconds,
    )
    with running(bundle, log_level="WARNING", queue_tokens=1 << 30) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            outcomes = await _send_at_once(channel, calls=calls, mix=mix)
        # Whoever left first may still have been running.
        passes = (await server.counters())[_PASSES]
    run = tally(outcomes, seconds=1.0)
    answered = sum(each.texts for each in run.statuses if each.status == "OK")
    return {
        "calls": calls,
        "cancelled": run.calls("CANCELLED"),
        "failed": calls - run.calls("OK") - run.calls("CANCELLED"),
        "texts sent": sum(each.texts for each in run.statuses),
        "texts answered": answered,
        "texts run": passes,
        "share run for nobody": (passes - answered) / max(passes, 1),
    }


async def leave_unread(bundle: Path, *, readers: int, calls: int) -> Figures:
    """Open many connections that ask and never read, and let others call meanwhile.

    Args:
        bundle: What is served.
        readers: Connections that do not read.
        calls: How many the others make.
    """
    with running(bundle, log_level="WARNING", max_texts=32) as server:
        connections = [await _ask_and_never_read(server) for _ in range(readers)]
        before = server.resident_bytes()
        async with (
            grpc.aio.insecure_channel(server.target) as channel,
            _crowd(channel) as crowd,
        ):
            await crowd.wait_for_more(calls)
        grown = server.resident_bytes() - before
        for writer in connections:
            writer.close()
    return {
        "calls never read": readers * _CALLS_OF_A_READER,
        "calls of others": crowd.ended,
        "failed": len(crowd.failures),
        "failed with": _reasons(crowd),
        "grown by, MiB": grown / 2**20,
    }


async def fill(bundle: Path, *, calls: int, queue_tokens: int = 256) -> Figures:
    """Send far more calls at once than the queue takes.

    Args:
        bundle: What is served.
        calls: How many at once; once without and once with retries.
        queue_tokens: Size of the queue, tokens.
    """
    mix = Mix(timeout_seconds=600.0, verified_share=0.0, cancelled_share=0.0)
    runs: list[Tally] = []
    with running(bundle, log_level="WARNING", queue_tokens=queue_tokens) as server:
        for retries in (False, True):
            async with balanced_channel([server.target], retries=retries) as channel:
                outcomes = await _send_at_once(channel, calls=calls, mix=mix)
            runs.append(tally(outcomes, seconds=1.0))
    refused = [run.calls("RESOURCE_EXHAUSTED") for run in runs]
    hinted = sum(each.hinted for each in runs[0].statuses)
    return {
        "calls": calls,
        "answered": runs[0].calls("OK"),
        "refused": refused[0],
        "refused without a hint": refused[0] - hinted,
        "answered, with retries": runs[1].calls("OK"),
        "refused, with retries": refused[1],
        "failed": 2 * calls - sum(run.calls("OK") for run in runs) - sum(refused),
    }


def _crowd(channel: grpc.aio.Channel) -> Crowd:
    mix = Mix(verified_share=0.0)
    plan = draw_plan(
        [0.0] * 50, mix=mix, target=EXPLAIN, generator=np.random.default_rng(0)
    )
    return Crowd(
        channel,
        target=EXPLAIN,
        messages=[call.message for call in plan],
        callers=_CALLERS,
    )


def _reasons(crowd: Crowd) -> str:
    first: dict[str, str] = {}
    for each in crowd.failures:
        first.setdefault(each.status, each.message)
    counts = Counter(each.status for each in crowd.failures)
    told = (f"{count} {name}, first: {first[name]}" for name, count in counts.items())
    return "; ".join(told) or "-"


async def _send_at_once(
    channel: grpc.aio.Channel, *, calls: int, mix: Mix
) -> Sequence[Outcome]:
    plan = draw_plan(
        [0.0] * calls, mix=mix, target=EXPLAIN, generator=np.random.default_rng(0)
    )
    return await drive(plan, GrpcSend(channel, EXPLAIN))


async def _bring_back(replicas: Replicas, place: int, crowd: Crowd) -> float:
    # The seconds from the moment when it is ready until it has answered somebody.
    server = await asyncio.to_thread(replicas.restart, place)
    ready = time.monotonic()
    while not (await server.counters())[_PASSES]:
        await crowd.wait_for_more(1)
    return time.monotonic() - ready


async def _ask_and_never_read(server: Server) -> asyncio.StreamWriter:
    host, _, port = server.target.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1)
    message = EXPLAIN.write(["a funny movie"] * 32, "explain")
    writer.write(PREFACE + _NO_WINDOW)
    for number in range(_CALLS_OF_A_READER):
        writer.write(whole_call(1 + 2 * number, EXPLAIN.path, message))
    await writer.drain()
    return writer


async def _awaited(scenario: Callable[[], Awaitable[Figures]]) -> Figures:
    return await scenario()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--calls", type=int, default=500, help="of a phase [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=10, help="stops [%(default)s]")
    parser.add_argument("--readers", type=int, default=50, help="[%(default)s]")
    parser.add_argument("--only", nargs="+", choices=_AT_MOST, default=list(_AT_MOST))
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
