"""What an engine says that it did, counted against requests that were made."""

from collections.abc import Sequence

import numpy as np
import pytest

from diffmask_service.core.statistics import ModelStatistics, Total
from diffmask_service.core.values import ModelIdentity, Outputs, Reply, Timings
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.tally import Tally
from tests.support.clock import ManualClock

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0", precision="fp32")
ROW = Row(input_ids=np.array([1]), token_type_ids=np.array([0]))


def tally_with(clock: ManualClock) -> Tally:
    return Tally(clock=clock, now=lambda: 1234.5)


def test_nothing_is_counted_before_the_first_request() -> None:
    assert Tally().statistics == ModelStatistics()


def test_answers_add_up_by_stage() -> None:
    tally = tally_with(ManualClock())
    timings = Timings(
        tokenize_seconds=1.0, queue_seconds=2.0, infer_seconds=3.0, decode_seconds=4.0
    )
    reply = Reply(model=IDENTITY, states=(), explanations=(), timings=timings)
    tally.answer(reply, seconds=11.0)
    tally.answer(reply, seconds=13.0)
    assert tally.statistics == ModelStatistics(
        last_answer_seconds=1234.5,
        answered=Total(count=2, seconds=24.0),
        tokenized=Total(count=2, seconds=2.0),
        queued=Total(count=2, seconds=4.0),
        inferred=Total(count=2, seconds=6.0),
        decoded=Total(count=2, seconds=8.0),
    )


def test_failures_are_counted_apart() -> None:
    tally = tally_with(ManualClock())
    tally.fail(seconds=0.5)
    assert tally.statistics == ModelStatistics(failed=Total(count=1, seconds=0.5))


def test_runs_are_counted_by_their_texts() -> None:
    clock = ManualClock()
    tally = tally_with(clock)

    def run(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        clock.advance(0.25)
        return Outputs(logits=np.zeros((len(rows), 2), dtype=np.float32))

    counted = tally.counting(run)
    for size in (1, 3, 3):
        counted([ROW] * size, fetches=("logits",))
    assert tally.statistics.num_runs == 3
    assert tally.statistics.runs_by_num_texts == {
        1: Total(count=1, seconds=0.25),
        3: Total(count=2, seconds=0.5),
    }


def test_a_run_that_fails_is_no_run() -> None:
    def run(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        raise ValueError

    tally = Tally()
    with pytest.raises(ValueError):  # noqa: PT011 - it is ours
        tally.counting(run)([ROW], fetches=("logits",))
    assert tally.statistics.num_runs == 0
