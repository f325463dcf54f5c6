"""Whether a server's memory stays flat under requests of adversarial lengths.

A warm-up sends the longest texts that the server takes, as many of them as it takes,
through all of its workers; from then on nothing should grow. Then come requests that
jump between the shortest and the longest, with texts that are refused and callers who
leave among them, and the resident memory is read in between.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import Server, running
from benchmarks.traffic.driving import GrpcSend
from benchmarks.traffic.plan import PlannedCall
from benchmarks.traffic.targets import EXPLAIN, Wish

_WARM_UP_TEXTS = 32
_WARM_UP_CALLS = 24
_MOST_WORDS = 700
_LEFT_SHARE = 0.05
# Mostly short, so that many requests fit into a run: it is the jump to the longest ones
# and back that an allocator does not like, not their number.
_SHORT_SHARE = 0.95
_SHORT_WORDS = 12
_MEBIBYTE = 2**20
# In the report a run has about so many readings.
_READINGS = 40


def main() -> None:
    """Warm a server up, wear it out, and print its memory."""
    arguments = _parse()
    with running(arguments.bundle, log_level="WARNING") as server:
        figures = asyncio.run(
            wear_out(
                server,
                num_requests=arguments.requests,
                callers=arguments.callers,
                seed=arguments.seed,
                progress=lambda line: print(line, file=sys.stderr),
            )
        )
    print("\n".join(describe(figures)))
    store("memory", figures, arguments=arguments)


async def wear_out(
    server: Server,
    *,
    num_requests: int,
    callers: int = 8,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the resident memory of a server over many requests.

    Args:
        server: Which.
        num_requests: How many, after the warm-up.
        callers: How many are on their way at a time.
        seed: Of all chance.
        progress: Told a line at each reading.
    """
    async with grpc.aio.insecure_channel(server.target) as channel:
        send = GrpcSend(channel, EXPLAIN)
        await _send_all(send, [_longest_call()] * _WARM_UP_CALLS, callers=callers)
        after_warm_up = server.resident_bytes()
        readings = [[0, after_warm_up / _MEBIBYTE]]
        calls = islice(draw_calls(random.Random(seed)), num_requests)
        sent = 0
        while batch := list(islice(calls, max(1, num_requests // _READINGS))):
            await _send_all(send, batch, callers=callers)
            sent += len(batch)
            readings.append([sent, server.resident_bytes() / _MEBIBYTE])
            progress(f"{sent} requests: {readings[-1][1]:.1f} MiB")
    last, highest = readings[-1][1], max(reading[1] for reading in readings)
    return {
        "requests": sent,
        "after_warm_up_mib": readings[0][1],
        "last_mib": last,
        "last_over_warm_up": last / readings[0][1],
        "highest_over_warm_up": highest / readings[0][1],
        "readings": readings,
    }


def draw_calls(chance: random.Random) -> Iterator[PlannedCall]:
    """Yield calls whose lengths an allocator would not like, without end."""
    while True:
        texts = [_draw_text(chance) for _ in range(chance.choice((1, 1, 1, 2, 8)))]
        wishes: Sequence[Wish] = ("predict", "explain", "explain", "verify")
        leaves = chance.uniform(0, 0.05) if chance.random() < _LEFT_SHARE else None
        yield _call(texts, chance.choice(wishes), cancel_after_seconds=leaves)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    readings = figures["readings"]
    shown = readings[:: max(1, len(readings) // 10)]
    shown += readings[-1:] if shown[-1] != readings[-1] else []
    return [
        f"{figures['requests']:,} requests of adversarial lengths: resident memory is"
        f" {figures['last_over_warm_up']:.3f} times that after the warm-up"
        f" ({figures['after_warm_up_mib']:.0f} MiB), at most"
        f" {figures['highest_over_warm_up']:.3f} times.",
        "",
        *table(["requests", "MiB"], shown),
    ]


def _draw_text(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.02:
        return "x" * 20_000  # refused: over the limit of a text
    if kind < 0.04:
        return " "  # refused: nothing to read
    words = chance.choice((1, 2, _MOST_WORDS, chance.randint(1, _MOST_WORDS)))
    if chance.random() < _SHORT_SHARE:
        words = min(words, _SHORT_WORDS)
    return "fun " * words


def _longest_call() -> PlannedCall:
    return _call(
        ["fun " * _MOST_WORDS] * _WARM_UP_TEXTS, "verify", cancel_after_seconds=None
    )


def _call(
    texts: Sequence[str], wish: Wish, *, cancel_after_seconds: float | None
) -> PlannedCall:
    return PlannedCall(
        at_seconds=0.0,
        message=EXPLAIN.write(texts, wish),
        num_texts=len(texts),
        timeout_seconds=600.0,
        cancel_after_seconds=cancel_after_seconds,
    )


async def _send_all(
    send: GrpcSend, calls: Sequence[PlannedCall], *, callers: int
) -> None:
    waiting = iter(calls)

    async def call_again_and_again() -> None:
        for call in waiting:
            await send(call)

    await asyncio.gather(*(call_again_and_again() for _ in range(callers)))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=5_000, help="[%(default)s]")
    parser.add_argument(
        "--callers", type=int, default=8, help="at a time [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
