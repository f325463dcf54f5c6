"""The door of an engine: how long a request has, and whether it is let in at all.

Before any work is done for a request its deadline is set within bounds. One that is
likely to expire behind the work in front of it is refused while its caller can still go
elsewhere: who is let in all the same waits its whole time for nothing, and when it
expires in its run, what the run cost is taken from others who would have been in time.
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


class Forecast(Protocol):
    """Who knows how busy the graph is."""

    def __call__(self, priority: int, *, num_tokens: int = 0) -> float:
        """Return in how many seconds a newcomer of a level will have been run."""
        ...


class Door:
    """Gives requests their turn, or refuses them.

    Args:
        limits: Bounds on deadlines and levels.
        foretell_seconds: Seconds until what waits in front of a level, and so many
            tokens more, have been run.
        counter: Told of every request refused and every text expired.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        limits: EngineLimits,
        *,
        foretell_seconds: Forecast,
        counter: DoorCounter,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._foretell_seconds = foretell_seconds
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
        """Refuse a request whose time is up, or likely will be before its turn comes.

        Args:
            turn: Its turn.
            num_texts: Its texts, none of them run yet.

        Raises:
            DeadlineError: It cannot be answered in time.
        """
        self._check_time(turn, num_texts=num_texts, stage="it was taken up")
        self._check_forecast(turn, self._foretell_seconds(turn.priority))

    def take_up(self, turn: Turn, *, num_texts: int, num_tokens: int) -> None:
        """Do the same once more, now that its tokens are known.

        Args:
            turn: Its turn.
            num_texts: Its texts, none of them run yet.
            num_tokens: What has to be run for it, tokens.

        Raises:
            DeadlineError: It cannot be answered in time.
        """
        self._check_time(turn, num_texts=num_texts, stage="its texts were run")
        seconds = self._foretell_seconds(turn.priority, num_tokens=num_tokens)
        self._check_forecast(turn, seconds)

    def _check_time(self, turn: Turn, *, num_texts: int, stage: str) -> None:
        if self._clock() < turn.deadline:
            return
        for _ in range(num_texts):
            self._counter.expire()
        raise DeadlineError(f"the deadline passed before {stage}; allow more time")

    def _check_forecast(self, turn: Turn, seconds: float) -> None:
        factor, left_seconds = self._limits.late_factor, turn.deadline - self._clock()
        allowed_seconds = factor * left_seconds
        if not factor or seconds <= allowed_seconds:
            return
        self._counter.reject("late")
        retry_seconds = self._limits.bound_retry(seconds - allowed_seconds)
        raise DeadlineError(
            f"what waits in front of the request takes about {seconds:.1f} s and its"
            f" deadline leaves {left_seconds:.1f} s; allow more time, or try again in"
            f" {retry_seconds:.1f} s",
            retry_after_seconds=retry_seconds,
        )
