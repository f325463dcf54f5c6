"""Calls measured side by side, so that all of them meet the same machine."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LEAST_ROUNDS = 5
Call = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call took.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of the processor, for the whole process.
    """

    wall_seconds: float
    cpu_seconds: float


Rounds = Sequence[Sequence[Cost]]


def measure_rounds(calls: Sequence[Call], *, most: int, seconds: float) -> Rounds:
    """Return the costs of each round, in the order of the calls.

    Args:
        calls: Each is made once a round, after one call that does not count.
        most: Rounds.
        seconds: After which no round begins, once there are `LEAST_ROUNDS`.
    """
    for call in calls:
        call()
    began = time.perf_counter()
    rounds: list[list[Cost]] = []
    while len(rounds) < most and (
        len(rounds) < LEAST_ROUNDS or time.perf_counter() - began < seconds
    ):
        # Who goes first changes, lest one always find the caches warm.
        order = [(len(rounds) + turn) % len(calls) for turn in range(len(calls))]
        costs = {index: _cost(calls[index]) for index in order}
        rounds.append([costs[index] for index in range(len(calls))])
    return rounds


def median_seconds(rounds: Rounds, index: int) -> float:
    """Return a call's median, in seconds of the processor."""
    return statistics.median(costs[index].cpu_seconds for costs in rounds)


def median_ratios(rounds: Rounds, index: int, *, over: int) -> Cost:
    """Return the medians of the ratios of two calls in the same rounds.

    Args:
        rounds: Of all calls.
        index: Of the call.
        over: Index of the call that it is divided by.
    """
    return Cost(
        wall_seconds=statistics.median(
            costs[index].wall_seconds / costs[over].wall_seconds for costs in rounds
        ),
        cpu_seconds=statistics.median(
            costs[index].cpu_seconds / costs[over].cpu_seconds for costs in rounds
        ),
    )


def _cost(call: Call) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Cost(
        wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu
    )
