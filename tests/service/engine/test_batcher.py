"""The batcher with a run that the test decides about."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from diffmask_service.core.batching import PaddedBatches, UnpaddedBatches
from diffmask_service.core.values import Outputs
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.feeds import Row
from diffmask_service.errors import DeadlineError, InferenceError, NotReadyError
from tests.support.clock import ManualClock

LOGITS = ("logits",)


@dataclass
class FakeGraph:
    """Echoes the first id of each text, or fails, or waits for the test."""

    runs: list[list[int]] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)

    def __call__(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        ids = [int(row.input_ids[0]) for row in rows]
        self.runs.append(ids)
        self.gate.wait()
        if self.failing & set(ids):
            raise InferenceError("the graph failed to run")
        logits = np.array(ids, dtype=np.float32).reshape(-1, 1)
        return Outputs(logits=logits)


@dataclass
class Counts:
    """What a batcher reported."""

    expired: int = 0
    expiry_stages: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    paddings: list[int] = field(default_factory=list)
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    health: list[bool] = field(default_factory=list)

    def expire(self, *, stage: str) -> None:
        self.expired += 1
        self.expiry_stages.append(stage)

    def count_run(
        self,
        *,
        num_texts: int,
        num_masked: int,
        num_tokens: int,
        num_padding: int,
        release: str,
    ) -> None:
        self.paddings.append(num_padding)
        self.runs.append((num_texts, num_masked, num_tokens))
        self.releases.append(release)

    def note_health(self, *, is_healthy: bool) -> None:
        self.health.append(is_healthy)


@pytest.fixture
def graph() -> FakeGraph:
    return FakeGraph()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def batcher(graph: FakeGraph, counts: Counts, clock: ManualClock) -> Iterator[Batcher]:
    made = Batcher(
        graph,
        num_workers=1,
        policy=UnpaddedBatches(max_group_tokens=16),
        priority_step_seconds=10.0,
        counter=counts,
        on_health=counts.note_health,
        clock=clock,
    )
    yield made
    graph.gate.set()
    made.close()


@pytest.fixture
def submit(
    batcher: Batcher, clock: ManualClock
) -> Callable[..., "asyncio.Future[float]"]:
    async def answer(
        identity: int, num_tokens: int, deadline: float, priority: int, arrived: float
    ) -> float:
        row = Row(
            input_ids=np.full(num_tokens, identity, dtype=np.int64),
            token_type_ids=np.zeros(num_tokens, dtype=np.int64),
        )
        ran = await batcher.submit(
            row, fetches=LOGITS, deadline=deadline, arrived=arrived, priority=priority
        )
        return float(ran.outputs.logits[0, 0])

    def submitted(
        identity: int,
        *,
        num_tokens: int = 8,
        seconds: float = 600.0,
        priority: int = 1,
        came: float = 0.0,
    ) -> "asyncio.Future[float]":
        deadline, arrived = clock.now + seconds, clock.now - came
        return asyncio.ensure_future(
            answer(identity, num_tokens, deadline, priority, arrived)
        )

    return submitted


async def turn() -> None:
    """Let the loop start what is ready."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_each_caller_gets_its_own_answer(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, counts: Counts
) -> None:
    graph.gate.set()
    answers = await asyncio.gather(submit(1), submit(2), submit(3, num_tokens=4))
    assert list(answers) == [1.0, 2.0, 3.0]
    assert graph.runs == [[1, 2], [3]]
    assert counts.runs == [(2, 0, 16), (1, 0, 4)]
    assert counts.releases == ["tokens", "idle"]


async def test_expired_entries_are_not_run(
    submit: Callable[..., "asyncio.Future[float]"],
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


async def test_cancelled_entries_are_not_run(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
) -> None:
    first = submit(1)
    await turn()
    gone, patient = submit(2), submit(3)
    await turn()
    gone.cancel()
    await turn()
    graph.gate.set()
    assert [await first, await patient] == [1.0, 3.0]
    assert graph.runs == [[1], [3]]


async def test_a_caller_who_left_during_the_run_disturbs_nobody(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
) -> None:
    gone, stays = submit(1), submit(2)
    await turn()
    gone.cancel()
    graph.gate.set()
    assert await stays == 2.0
    assert graph.runs == [[1, 2]]


async def test_a_deadline_is_told_while_the_workers_are_busy(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
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
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, counts: Counts
) -> None:
    with pytest.raises(DeadlineError):
        # Its run is held up; the timer goes by the time of the loop.
        await submit(1, seconds=0.02)
    assert graph.runs == [[1]]
    assert counts.expiry_stages == ["infer"]
    graph.gate.set()


async def test_texts_too_long_for_mates_are_released_alone(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, counts: Counts
) -> None:
    graph.gate.set()
    await submit(1, num_tokens=9)
    assert counts.releases == ["full"]


async def test_what_waits_is_counted(
    batcher: Batcher, submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
) -> None:
    running = submit(1)
    await turn()
    waiting = [submit(2), submit(3)]
    await turn()
    assert batcher.count_waiting() == 2
    graph.gate.set()
    await asyncio.gather(running, *waiting)
    assert batcher.count_waiting() == 0


async def test_a_failed_run_fails_its_own_entries_only(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
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
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, counts: Counts
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
    batcher: Batcher, submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
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


async def test_work_left_is_estimated_from_past_runs(
    batcher: Batcher,
    submit: Callable[..., "asyncio.Future[float]"],
    graph: FakeGraph,
    clock: ManualClock,
) -> None:
    slow = submit(1)
    await turn()
    clock.advance(8.0)
    graph.gate.set()
    await slow
    assert batcher.estimate_seconds(1000) == pytest.approx(1000)


async def test_a_higher_level_overtakes_within_its_head_start(
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, clock: ManualClock
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
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph, clock: ManualClock
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
    submit: Callable[..., "asyncio.Future[float]"], graph: FakeGraph
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
    submit: Callable[..., "asyncio.Future[float]"],
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
    submit: Callable[..., "asyncio.Future[float]"],
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


async def test_a_padded_run_gives_back_each_text_without_its_padding(
    counts: Counts, clock: ManualClock
) -> None:
    def run(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        longest = max(len(row.input_ids) for row in rows)
        values = np.zeros((len(rows), 2, longest), dtype=np.float32)
        for place, row in enumerate(rows):
            values[place, :, : len(row.input_ids)] = row.input_ids
        return Outputs(
            logits=values.transpose(0, 2, 1), input_gates=values, hidden_gates=values
        )

    batcher = Batcher(
        run,
        num_workers=1,
        policy=PaddedBatches(max_batch_tokens=100),
        priority_step_seconds=1.0,
        counter=counts,
        on_health=counts.note_health,
        clock=clock,
    )
    lengths = (3, 8, 5)
    futures = [
        batcher.submit(
            Row(input_ids=np.full(n, n), token_type_ids=np.zeros(n, dtype=np.int64)),
            fetches=LOGITS,
            deadline=clock.now + 1,
            arrived=clock.now,
        )
        for n in lengths
    ]
    answers = [(await future).outputs for future in futures]
    assert counts.paddings == [8]
    batcher.close()
    assert counts.runs == [(3, 0, 16)]
    for num_tokens, outputs in zip(lengths, answers, strict=True):
        assert outputs.input_gates is not None
        assert outputs.input_gates.tolist() == [[[num_tokens] * num_tokens] * 2]
        assert outputs.logits.tolist() == [[[num_tokens] * 2] * num_tokens]


async def run_slowly(
    submit: Callable[..., "asyncio.Future[float]"],
    graph: FakeGraph,
    clock: ManualClock,
    *,
    times: int,
) -> None:
    """Run texts of 8 tokens, each for 16 seconds of the clock."""
    for _ in range(times):
        graph.gate.clear()
        running = submit(9)
        await turn()
        clock.advance(16.0)
        graph.gate.set()
        await running
