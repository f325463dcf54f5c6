"""Work on text, tokenizing and decoding: on the event loop if short, else beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from diffmask_service.telemetry import ModelTelemetry

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[_T]):
    """What a stage gave, and how long it took.

    Attributes:
        value: What it gave.
        seconds: Time of the work itself, without any wait for the thread.
    """

    value: _T
    seconds: float


class TextWork:
    """Does one stage of a request at a time, and traces it.

    Args:
        telemetry: Told of every stage.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self, *, telemetry: ModelTelemetry, clock: Callable[[], float]
    ) -> None:
        self._telemetry = telemetry
        self._clock = clock
        # One thread for longer work, which keeps the event loop free.
        self._worker = ThreadPoolExecutor(1, "diffmask-text")

    async def do(
        self, stage: str, work: Callable[[], _T], *, is_small: bool
    ) -> Timed[_T]:
        """Do a piece of work.

        Args:
            stage: Its name.
            work: What to do.
            is_small: Whether it is short enough for the event loop.
        """
        # A change of threads and back costs more than a short text takes.
        if is_small:
            done = self._time(work)
        else:
            loop = asyncio.get_running_loop()
            done = await loop.run_in_executor(self._worker, self._time, work)
        ended = self._clock()
        self._telemetry.trace(stage, began=ended - done.seconds, ended=ended)
        return done

    def _time(self, work: Callable[[], _T]) -> Timed[_T]:
        began = self._clock()
        return Timed(value=work(), seconds=self._clock() - began)

    async def join(self) -> None:
        """Wait for the work that goes on, and free the thread."""
        await asyncio.to_thread(self._worker.shutdown)

    def close(self) -> None:
        """Let the work that goes on end, and free the thread."""
        self._worker.shutdown(wait=True)
