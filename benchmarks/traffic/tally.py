"""Outcomes added up: how many ended how, and how long they took."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.traffic.driving import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTally:
    """All calls of a run that ended in one status.

    Attributes:
        status: Name of the gRPC status.
        calls: How many.
        texts: How many texts they held.
        p50_seconds: Half of them ended within this time of their planned moment.
        p90_seconds: Nine of ten did.
        p99_seconds: All but one in a hundred did.
        hinted: How many carried a hint when to try again.
    """

    status: str
    calls: int
    texts: int
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float
    hinted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One run.

    Attributes:
        offered_per_second: Calls sent a second.
        goodput_per_second: Calls answered with OK a second.
        statuses: One for each status, most frequent first.
        lag_p99_seconds: All but one in a hundred calls were sent within this time of
            their planned moment; far below the latencies, or the driver is too slow.
    """

    offered_per_second: float
    goodput_per_second: float
    statuses: tuple[StatusTally, ...]
    lag_p99_seconds: float

    def calls(self, status: str) -> int:
        """Return how many calls ended in a status."""
        return sum(each.calls for each in self.statuses if each.status == status)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least a share of all values do not exceed.

    Args:
        values: At least one.
        share: In [0, 1].
    """
    return float(np.quantile(values, share, method="inverted_cdf"))


def tally(outcomes: Sequence[Outcome], *, seconds: float) -> Tally:
    """Add up a run.

    Args:
        outcomes: Every call, at least one.
        seconds: Length of the plan, seconds, > 0.
    """
    by_status: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_status[outcome.ending.status].append(outcome)
    statuses = [_tally_status(status, each) for status, each in by_status.items()]
    return Tally(
        offered_per_second=len(outcomes) / seconds,
        goodput_per_second=len(by_status["OK"]) / seconds,
        statuses=tuple(sorted(statuses, key=lambda each: -each.calls)),
        lag_p99_seconds=percentile([each.lag_seconds for each in outcomes], 0.99),
    )


def _tally_status(status: str, outcomes: Sequence[Outcome]) -> StatusTally:
    latencies = [outcome.latency_seconds for outcome in outcomes]
    return StatusTally(
        status=status,
        calls=len(outcomes),
        texts=sum(outcome.call.num_texts for outcome in outcomes),
        p50_seconds=percentile(latencies, 0.5),
        p90_seconds=percentile(latencies, 0.9),
        p99_seconds=percentile(latencies, 0.99),
        hinted=sum(each.ending.retry_after_seconds is not None for each in outcomes),
    )
