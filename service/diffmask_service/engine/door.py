"""The door of an engine: how long a request has, and whether it is let in at all.

Before any work is done for a request: its deadline is set within bounds, and one that
would surely expire behind the work in front of it is refused while its caller can
still go elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from diffmask_service.engine.limits import EngineLimits, resolve_priority
from diffmask_service.errors import DeadlineError


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When a request runs.

    Attributes:
        arrived: When it came, on the engine's clock.
        deadline: When its caller gives up, on the same clock.
        priority: Its level, 1 for the highest.
    """

    arrived: float
    deadline: float
    priority: int


class DoorCounter(Protocol):
    """What a door reports to telemetry."""

    def expire(self) -> None:
        """Count a text whose deadline passed before it was run."""
        ...

    def reject(self, reason: str) -> None:
        """Count a request that was turned away."""
        ...


class Door:
    """Gives requests their turn, or refuses them.

    Args:
        limits: Bounds on deadlines and levels.
        foretell_wait_seconds: Seconds that a newcomer of a level waits at least.
        counter: Told of every request refused and every text expired.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        limits: EngineLimits,
        *,
        foretell_wait_seconds: Callable[[int], float],
        counter: DoorCounter,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._foretell_wait_seconds = foretell_wait_seconds
        self._counter = counter
        self._clock = clock

    def turn(self, *, deadline: float | None, priority: int) -> Turn:
        """Return when a request that comes now runs.

        Args:
            deadline: When its caller gives up; None for the default.
            priority: Its level, 1 for the highest; 0 for the default.

        Raises:
            InvalidInput: There is no such level.
        """
        now, limits = self._clock(), self._limits
        if deadline is None:
            deadline = now + limits.default_deadline_seconds
        return Turn(
            arrived=now,
            # Callers without a deadline may bring one some 290 years ahead.
            deadline=min(deadline, now + limits.max_deadline_seconds),
            priority=resolve_priority(priority, limits),
        )

    def admit(self, turn: Turn, *, num_texts: int) -> None:
        """Refuse a request whose time is up, or will be before its turn comes.

        Args:
            turn: Its turn.
            num_texts: Its texts.

        Raises:
            DeadlineError: It cannot be answered in time.
        """
        self.check_time(turn, num_texts=num_texts, stage="it was taken up")
        wait_seconds = self._foretell_wait_seconds(turn.priority)
        left_seconds = turn.deadline - turn.arrived
        factor = self._limits.late_factor
        if not factor or wait_seconds <= factor * left_seconds:
            return
        self._counter.reject("late")
        retry_seconds = self._limits.bound_retry(wait_seconds - left_seconds)
        raise DeadlineError(
            f"what waits in front of the request takes about {wait_seconds:.1f} s and"
            f" its deadline leaves {left_seconds:.1f} s; allow more time, or try again"
            f" in {retry_seconds:.1f} s",
            retry_after_seconds=retry_seconds,
        )

    def check_time(self, turn: Turn, *, num_texts: int, stage: str) -> None:
        """Drop a request whose time is up.

        Args:
            turn: Its turn.
            num_texts: Its texts, none of them run yet.
            stage: What would come next, for the message.

        Raises:
            DeadlineError: The deadline has passed.
        """
        if self._clock() < turn.deadline:
            return
        for _ in range(num_texts):
            self._counter.expire()
        raise DeadlineError(f"the deadline passed before {stage}; allow more time")
