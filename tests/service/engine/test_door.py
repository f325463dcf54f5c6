"""Who is let in: deadlines, levels and the refusal of what would come too late."""

from dataclasses import dataclass, field

import pytest

from diffmask_service.engine.door import Door
from diffmask_service.engine.limits import EngineLimits
from diffmask_service.errors import DeadlineError, InvalidInput
from tests.support.clock import ManualClock


@dataclass
class Counts:
    expired: int = 0
    rejected: list[str] = field(default_factory=list)

    def expire(self) -> None:
        self.expired += 1

    def reject(self, reason: str) -> None:
        self.rejected.append(reason)


@dataclass
class Queue:
    """Waits in front of a newcomer, as the test says."""

    seconds_by_level: dict[int, float] = field(default_factory=dict)

    def foretell(self, priority: int, *, num_tokens: int = 0) -> float:
        return self.seconds_by_level.get(priority, 0.0) + num_tokens / 100


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def queue() -> Queue:
    return Queue()


def make_door(
    clock: ManualClock, counts: Counts, queue: Queue, *, late_factor: float = 0.5
) -> Door:
    return Door(
        EngineLimits(
            default_deadline_seconds=10.0,
            max_deadline_seconds=60.0,
            late_factor=late_factor,
            priority_levels=4,
            default_priority=3,
        ),
        foretell_seconds=queue.foretell,
        counter=counts,
        clock=clock,
    )


@pytest.fixture
def door(clock: ManualClock, counts: Counts, queue: Queue) -> Door:
    return make_door(clock, counts, queue)


@pytest.mark.parametrize(
    ("given_seconds", "seconds"),
    [(None, 10.0), (5.0, 5.0), (61.0, 60.0), (9e18, 60.0), (float("inf"), 60.0)],
)
def test_a_deadline_is_the_callers_within_bounds(
    door: Door, clock: ManualClock, given_seconds: float | None, seconds: float
) -> None:
    deadline = None if given_seconds is None else clock.now + given_seconds
    turn = door.turn(deadline=deadline, priority=0)
    assert turn.deadline - clock.now == pytest.approx(seconds)


@pytest.mark.parametrize(("priority", "level"), [(0, 3), (1, 1), (4, 4)])
def test_a_level_is_the_callers_or_the_default(
    door: Door, priority: int, level: int
) -> None:
    assert door.turn(deadline=None, priority=priority).priority == level


@pytest.mark.parametrize("priority", [-1, 5])
def test_a_level_that_is_not_there_is_refused(door: Door, priority: int) -> None:
    with pytest.raises(InvalidInput, match="1 for the highest to 4 for the lowest"):
        door.turn(deadline=None, priority=priority)


def test_a_passed_deadline_is_refused_and_its_texts_counted(
    door: Door, clock: ManualClock, counts: Counts
) -> None:
    turn = door.turn(deadline=clock.now + 1.0, priority=0)
    clock.advance(1.0)
    with pytest.raises(DeadlineError, match="passed before it was taken up"):
        door.admit(turn, num_texts=3)
    assert counts.expired == 3


def test_who_would_likely_come_too_late_is_refused_with_a_hint(
    door: Door, clock: ManualClock, counts: Counts, queue: Queue
) -> None:
    queue.seconds_by_level = {2: 2.1, 1: 0.0}
    turn = door.turn(deadline=clock.now + 4.0, priority=2)
    with pytest.raises(DeadlineError, match=r"about 2\.1 s.*leaves 4\.0 s") as raised:
        door.admit(turn, num_texts=1)
    # By then what waits takes half of the time that the same request leaves.
    assert raised.value.retry_after_seconds == pytest.approx(0.1)
    assert counts.rejected == ["late"]
    # The same texts at the level that nobody stands in front of.
    door.admit(door.turn(deadline=clock.now + 4.0, priority=1), num_texts=1)


def test_a_wait_within_the_allowed_share_is_let_in(
    door: Door, clock: ManualClock, queue: Queue
) -> None:
    queue.seconds_by_level = {3: 2.0}
    door.admit(door.turn(deadline=clock.now + 4.0, priority=0), num_texts=1)


def test_its_own_tokens_count_once_they_are_known(
    door: Door, clock: ManualClock, counts: Counts, queue: Queue
) -> None:
    queue.seconds_by_level = {3: 1.0}
    turn = door.turn(deadline=clock.now + 4.0, priority=0)
    door.admit(turn, num_texts=1)
    door.take_up(turn, num_texts=1, num_tokens=100)
    with pytest.raises(DeadlineError, match=r"about 2\.1 s"):
        door.take_up(turn, num_texts=1, num_tokens=110)
    clock.advance(1.0)
    with pytest.raises(DeadlineError, match=r"leaves 3\.0 s"):
        door.take_up(turn, num_texts=1, num_tokens=100)
    assert counts.rejected == ["late"] * 2


def test_nobody_is_refused_for_lateness_when_it_is_switched_off(
    clock: ManualClock, counts: Counts, queue: Queue
) -> None:
    queue.seconds_by_level = {3: 1e9}
    door = make_door(clock, counts, queue, late_factor=0.0)
    door.admit(door.turn(deadline=clock.now + 4.0, priority=0), num_texts=1)
    assert not counts.rejected
