"""Callers who leave, deadlines that pass and runs that fail."""

import asyncio
import threading

import numpy as np
import pytest

from diffmask_service.core.batching import UnpaddedBatches
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.feeds import Row
from diffmask_service.errors import DeadlineError, InferenceError, NotReadyError
from tests.support.batching import LOGITS, Counts, FakeGraph, Submit, turn
from tests.support.clock import ManualClock


async def test_expired_entries_are_not_run(
    submit: Submit,
    graph: FakeGraph,
    counts: Counts,
    clock: ManualClock,
) -> None:
    first = submit(1)
    await turn()
    late, patient = submit(2, seconds=5.0), submit(3)
    await turn()
    clock.advance(5.0)
    graph.gate.set()
    with pytest.raises(DeadlineError, match=r"after 5\.000 s in the queue"):
        await late
    assert [await first, await patient] == [1.0, 3.0]
    assert graph.runs == [[1], [3]]
    assert counts.expired == 1
    assert counts.expiry_stages == ["queue"]


async def test_cancelled_entries_are_not_run(submit: Submit, graph: FakeGraph) -> None:
    first = submit(1)
    await turn()
    gone, patient = submit(2), submit(3)
    await turn()
    gone.cancel()
    await turn()
    graph.gate.set()
    assert [await first, await patient] == [1.0, 3.0]
    assert graph.runs == [[1], [3]]


async def test_a_worker_passes_over_who_left_before_the_loop_heard_of_it(
    submit: Submit, graph: FakeGraph, counts: Counts, clock: ManualClock
) -> None:
    first = submit(1)
    await turn()
    gone, late, patient = submit(2), submit(3, seconds=5.0), submit(4, num_tokens=9)
    await turn()
    gone.cancel()
    clock.advance(5.0)
    graph.gate.set()
    # From the cancellation to here the loop stands still.
    assert all(graph.began.acquire(timeout=60.0) for _ in range(2))
    assert graph.runs == [[1], [4]]
    with pytest.raises(DeadlineError, match=r"after 5\.000 s in the queue"):
        await late
    assert [await first, await patient] == [1.0, 4.0]
    assert counts.expiry_stages == ["queue"]


class HeldClock(ManualClock):
    """One that holds up the threads of workers who ask for the time."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked = threading.Event()

    def __call__(self) -> float:
        if threading.current_thread() is not threading.main_thread():
            self.asked.set()
            self.gate.wait()
        return super().__call__()


async def test_who_leaves_on_the_way_to_the_worker_is_not_run(
    graph: FakeGraph, counts: Counts
) -> None:
    clock = HeldClock()
    graph.gate.set()
    batcher = Batcher(
        graph,
        num_workers=1,
        policy=UnpaddedBatches(max_group_tokens=16),
        priority_step_seconds=1.0,
        counter=counts,
        on_health=counts.note_health,
        clock=clock,
    )

    def submit(identity: int) -> "asyncio.Future[object]":
        ids = np.full(8, identity, dtype=np.int64)
        row = Row(input_ids=ids, token_type_ids=np.zeros(8, dtype=np.int64))
        return asyncio.ensure_future(
            batcher.submit(
                [row], fetches=LOGITS, deadline=clock.now + 9.0, arrived=clock.now
            )
        )

    gone, stays = submit(1), submit(2)
    await asyncio.to_thread(clock.asked.wait)
    gone.cancel()
    clock.gate.set()
    await stays
    batcher.close()
    assert graph.runs == [[2]]
    assert counts.runs == [(1, 0, 8)]


async def test_a_caller_who_left_during_the_run_disturbs_nobody(
    submit: Submit, graph: FakeGraph
) -> None:
    gone, stays = submit(1), submit(2)
    await turn()
    gone.cancel()
    graph.gate.set()
    assert await stays == 2.0
    assert graph.runs == [[1, 2]]


async def test_a_deadline_is_told_while_the_workers_are_busy(
    submit: Submit, graph: FakeGraph
) -> None:
    first = submit(1)
    await turn()
    # On the batcher's clock the time is up at once, so the timer fires at once.
    with pytest.raises(DeadlineError):
        await submit(2, seconds=0.0)
    assert not first.done()
    graph.gate.set()
    await first


async def test_a_run_that_comes_too_late_is_told_from_one_that_never_began(
    submit: Submit, graph: FakeGraph, counts: Counts
) -> None:
    late = submit(1, seconds=0.02)
    await graph.begin()
    # Its run is held up; the timer goes by the time of the loop.
    with pytest.raises(DeadlineError, match="in a run that came too late"):
        await late
    assert graph.runs == [[1]]
    assert counts.expiry_stages == ["infer"]
    graph.gate.set()


async def test_a_failed_run_fails_its_own_entries_only(
    submit: Submit, graph: FakeGraph
) -> None:
    graph.failing = {1}
    graph.gate.set()
    answers = await asyncio.gather(
        submit(1), submit(2), submit(3, num_tokens=4), return_exceptions=True
    )
    assert [type(answer) for answer in answers[:2]] == [InferenceError] * 2
    assert answers[2] == 3.0
    assert answers[0] is not answers[1]
    assert isinstance(answers[0], InferenceError)
    assert isinstance(answers[0].__cause__, InferenceError)


async def test_three_failures_in_a_row_are_unhealthy_until_a_run_succeeds(
    submit: Submit, graph: FakeGraph, counts: Counts
) -> None:
    graph.failing = {1}
    graph.gate.set()
    for expected in ([], [], [False], [False]):
        with pytest.raises(InferenceError):
            await submit(1)
        assert counts.health == expected
    await submit(2)
    assert counts.health == [False, True]


async def test_closing_fails_what_still_waits(
    batcher: Batcher, submit: Submit, graph: FakeGraph
) -> None:
    running = submit(1)
    await turn()
    gone, waiting = submit(2), submit(3)
    await turn()
    gone.cancel()
    await turn()
    graph.gate.set()
    batcher.close()
    with pytest.raises(NotReadyError, match="stopped before"):
        await waiting
    assert await running == 1.0


async def test_what_comes_after_the_end_is_told_so_at_once(
    batcher: Batcher, submit: Submit
) -> None:
    batcher.close()
    # As a request whose texts were still being tokenized.
    late = submit(1)
    await turn()
    await turn()
    assert late.done()
    with pytest.raises(NotReadyError, match="stopped before"):
        await late
