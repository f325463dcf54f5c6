"""Outcomes added up: how many ended how, and how long they took."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from benchmarks.traffic.driving import Outcome

_UNKNOWN: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTally:
    """All calls of a run that ended in one status, those with a hint apart.

    A hint when to try again tells a refusal at the door from a call that waited for
    nothing.

    Attributes:
        status: Name of the gRPC status.
        calls: How many.
        texts: How many texts they held.
        p50_seconds: Half of them ended within this time of their planned moment.
        p90_seconds: Nine of ten did.
        p99_seconds: All but one in a hundred did.
        hinted: How many carried a hint when to try again: all or none.
        server_p50_seconds: Half of them took the server at most this long, from where
            it took them up; None where that is not known.
        server_p99_seconds: All but one in a hundred did.
    """

    status: str
    calls: int
    texts: int
    p50_seconds: float
    p90_seconds: float
    p99_seconds: float
    hinted: int
    server_p50_seconds: float | None
    server_p99_seconds: float | None


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


def tally(
    outcomes: Sequence[Outcome],
    *,
    seconds: float,
    server_seconds: Mapping[str, float] = _UNKNOWN,
) -> Tally:
    """Add up a run.

    Args:
        outcomes: Every call, at least one.
        seconds: Length of the plan, seconds, > 0.
        server_seconds: How long each took the server, by its identity in the log.
    """
    parts: dict[tuple[str, bool], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        ending = outcome.ending
        is_hinted = ending.retry_after_seconds is not None
        parts[ending.status, is_hinted].append(outcome)
    statuses = [_tally_part(part, server_seconds) for part in parts.values()]
    return Tally(
        offered_per_second=len(outcomes) / seconds,
        goodput_per_second=len(parts["OK", False]) / seconds,
        statuses=tuple(sorted(statuses, key=lambda each: -each.calls)),
        lag_p99_seconds=percentile([each.lag_seconds for each in outcomes], 0.99),
    )


def _tally_part(
    outcomes: Sequence[Outcome], server_seconds: Mapping[str, float]
) -> StatusTally:
    latencies = [outcome.latency_seconds for outcome in outcomes]
    known = [
        server_seconds[outcome.ending.request_id]
        for outcome in outcomes
        if outcome.ending.request_id in server_seconds
    ]
    return StatusTally(
        status=outcomes[0].ending.status,
        calls=len(outcomes),
        texts=sum(outcome.call.num_texts for outcome in outcomes),
        p50_seconds=percentile(latencies, 0.5),
        p90_seconds=percentile(latencies, 0.9),
        p99_seconds=percentile(latencies, 0.99),
        hinted=sum(each.ending.retry_after_seconds is not None for each in outcomes),
        server_p50_seconds=percentile(known, 0.5) if known else None,
        server_p99_seconds=percentile(known, 0.99) if known else None,
    )
