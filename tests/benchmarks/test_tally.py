"""Sums in closed form."""

from dataclasses import replace

import pytest

from benchmarks.traffic.driving import Ending, Outcome
from benchmarks.traffic.plan import PlannedCall
from benchmarks.traffic.tally import percentile, tally


def outcome(status: str, latency: float, *, hint: float | None = None) -> Outcome:
    call = PlannedCall(
        at_seconds=0.0,
        message=b"",
        num_texts=2,
        timeout_seconds=1.0,
        cancel_after_seconds=None,
    )
    return Outcome(
        call=call,
        ending=Ending(status=status, retry_after_seconds=hint),
        latency_seconds=latency,
        lag_seconds=latency / 100,
    )


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_a_percentile_is_never_an_invention_between_two_values() -> None:
    assert percentile([1.0, 1000.0], 0.5) == 1.0
    assert percentile([1.0, 1000.0], 0.51) == 1000.0


def test_a_run_adds_up_by_status() -> None:
    answered = [outcome("OK", seconds / 10) for seconds in range(1, 11)]
    refused = [outcome("RESOURCE_EXHAUSTED", 0.01, hint=0.5) for _ in range(4)]
    run = tally([*refused, *answered], seconds=2.0)
    assert run.offered_per_second == 7
    assert run.goodput_per_second == 5
    ok, full = run.statuses
    assert (ok.status, ok.calls, ok.texts, ok.hinted) == ("OK", 10, 20, 0)
    assert (ok.p50_seconds, ok.p90_seconds, ok.p99_seconds) == (0.5, 0.9, 1.0)
    assert (full.status, full.calls, full.hinted) == ("RESOURCE_EXHAUSTED", 4, 4)
    assert run.lag_p99_seconds == 0.01
    assert (run.calls("OK"), run.calls("CANCELLED")) == (10, 0)


def test_refusals_stand_apart_from_calls_that_waited_for_nothing() -> None:
    waited = [outcome("DEADLINE_EXCEEDED", 2.0) for _ in range(3)]
    refused = [outcome("DEADLINE_EXCEEDED", 0.004, hint=0.5) for _ in range(2)]
    run = tally([*refused, *waited], seconds=1.0)
    assert [
        (each.status, each.calls, each.hinted, each.p99_seconds)
        for each in run.statuses
    ] == [("DEADLINE_EXCEEDED", 3, 0, 2.0), ("DEADLINE_EXCEEDED", 2, 2, 0.004)]
    assert run.calls("DEADLINE_EXCEEDED") == 5


def test_the_servers_own_time_is_found_by_the_calls_identity() -> None:
    calls = [
        replace(each, ending=replace(each.ending, request_id=name))
        for name, each in zip("abc", [outcome("OK", 1.0)] * 3, strict=True)
    ]
    taken = {"a": 0.25, "b": 0.5, "of another run": 9.0}
    (ok,) = tally(calls, seconds=1.0, server_seconds=taken).statuses
    assert (ok.server_p50_seconds, ok.server_p99_seconds) == (0.25, 0.5)
    (ok,) = tally(calls, seconds=1.0).statuses
    assert ok.server_p50_seconds is None


def test_a_run_without_an_answer_has_no_goodput() -> None:
    assert tally([outcome("UNAVAILABLE", 1.0)], seconds=1.0).goodput_per_second == 0
