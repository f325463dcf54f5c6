"""Callers who call again and again until they are told to stop."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import grpc
import grpc.aio

from benchmarks.traffic.targets import Target

# Longer than anything takes that works.
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call that ended in something else than OK.

    Attributes:
        number: Its place in the order in which calls began, from 0.
        status: Name of its gRPC status.
        message: What the status said.
    """

    number: int
    status: str
    message: str


@dataclass(slots=True, kw_only=True)
class _Milestone:
    ended: int
    reached: asyncio.Event = field(default_factory=asyncio.Event)


class Crowd:
    """Keeps a number of calls on their way; use it as a context.

    Args:
        channel: Where they go.
        target: The method.
        messages: Requests, sent in turn.
        callers: Calls on their way at a time.

    Attributes:
        begun: Calls begun.
        ended: Calls that ended, in whatever status.
        failures: Those that did not end in OK.
        in_flight: Numbers of the calls on their way.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        target: Target,
        messages: Sequence[bytes],
        callers: int,
    ) -> None:
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = (
            channel.unary_unary(target.path)
        )
        self._messages = messages
        self._callers = callers
        self._is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._milestones: list[_Milestone] = []
        self.begun = 0
        self.ended = 0
        self.failures: list[Failure] = []
        self.in_flight: set[int] = set()

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._call_again_and_again())
            for _ in range(self._callers)
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        # Calls on their way are still waited for: none may be lost.
        self._is_stopping = True
        await asyncio.gather(*self._tasks)

    async def wait_for_more(self, calls: int) -> None:
        """Wait until so many more calls have ended."""
        milestone = _Milestone(ended=self.ended + calls)
        self._milestones.append(milestone)
        await milestone.reached.wait()

    async def _call_again_and_again(self) -> None:
        while not self._is_stopping:
            number = self.begun
            self.begun += 1
            self.in_flight.add(number)
            try:
                await self._method(
                    self._messages[number % len(self._messages)],
                    timeout=_TIMEOUT_SECONDS,
                )
            except grpc.aio.AioRpcError as error:
                failure = Failure(
                    number=number,
                    status=error.code().name,
                    message=error.details() or "",
                )
                self.failures.append(failure)
            self.in_flight.discard(number)
            self._end_one()

    def _end_one(self) -> None:
        self.ended += 1
        for milestone in self._milestones:
            if self.ended >= milestone.ended:
                milestone.reached.set()
        self._milestones = [m for m in self._milestones if not m.reached.is_set()]
