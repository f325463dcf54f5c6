"""Who comes next, and how long that takes."""

import asyncio

import pytest

from diffmask_service.engine.batcher import Batcher
from tests.support.batching import FakeGraph, Submit, run_slowly, turn
from tests.support.clock import ManualClock


async def test_work_left_is_estimated_from_past_runs(
    batcher: Batcher,
    submit: Submit,
    graph: FakeGraph,
    clock: ManualClock,
) -> None:
    slow = submit(1)
    await graph.begin()
    clock.advance(8.0)
    graph.gate.set()
    await slow
    assert batcher.estimate_seconds(1000) == pytest.approx(1000)


async def test_a_higher_level_overtakes_within_its_head_start(
    submit: Submit, graph: FakeGraph, clock: ManualClock
) -> None:
    answers = [submit(0)]
    await turn()
    answers += [submit(2, priority=2), submit(3, priority=3), submit(22, priority=2)]
    await turn()
    clock.advance(9.0)
    answers.append(submit(1, priority=1, num_tokens=4))
    await turn()
    graph.gate.set()
    await asyncio.gather(*answers)
    assert graph.runs == [[0], [1], [2, 22], [3]]


async def test_a_higher_level_does_not_overtake_beyond_its_head_start(
    submit: Submit, graph: FakeGraph, clock: ManualClock
) -> None:
    answers = [submit(0)]
    await turn()
    answers.append(submit(2, priority=2))
    await turn()
    clock.advance(11.0)
    answers.append(submit(1, priority=1, num_tokens=4))
    await turn()
    graph.gate.set()
    await asyncio.gather(*answers)
    assert graph.runs == [[0], [2], [1]]


async def test_a_later_run_of_a_request_keeps_its_place(
    submit: Submit, graph: FakeGraph
) -> None:
    answers = [submit(0)]
    await turn()
    answers += [submit(1, num_tokens=4), submit(2, num_tokens=5, came=1.0)]
    await turn()
    graph.gate.set()
    await asyncio.gather(*answers)
    assert graph.runs == [[0], [2], [1]]


async def test_nothing_is_foretold_while_a_worker_is_free_or_runs_are_few(
    batcher: Batcher,
    submit: Submit,
    graph: FakeGraph,
    clock: ManualClock,
) -> None:
    answers = [submit(0), submit(1, num_tokens=16)]
    await turn()
    assert batcher.foretell_seconds(1) == 0.0
    graph.gate.set()
    await asyncio.gather(*answers)
    await run_slowly(submit, graph, clock, times=4)
    # The first two runs took no time for 24 tokens, the others 64 s for 32.
    assert batcher.estimate_seconds(10) == pytest.approx(10 * 64 / 56)
    assert batcher.foretell_seconds(1) == 0.0


async def test_the_wait_is_that_of_the_texts_at_a_level_and_above(
    batcher: Batcher,
    submit: Submit,
    graph: FakeGraph,
    clock: ManualClock,
) -> None:
    await run_slowly(submit, graph, clock, times=4)
    graph.gate.clear()
    running = submit(0)
    await turn()
    waiting = [submit(1, num_tokens=16), submit(2, num_tokens=6, priority=2)]
    gone = submit(3, num_tokens=99)
    await turn()
    gone.cancel()
    await turn()
    foretold = [batcher.foretell_seconds(level) for level in (1, 2, 3)]
    assert foretold == pytest.approx([32.0, 44.0, 44.0])
    assert batcher.foretell_seconds(1, num_tokens=3) == pytest.approx(38.0)
    graph.gate.set()
    await asyncio.gather(running, *waiting)
    assert batcher.foretell_seconds(3) == 0.0
