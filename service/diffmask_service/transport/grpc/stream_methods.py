"""A method with a stream of requests: each of them is handled as a call would be.

It has an identity and a line in the log of its own, and when it fails the stream goes
on. What a request, an answer and a failure look like is the protocol's business.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

import grpc

from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.interceptors import MalformedMessage
from diffmask_service.transport.grpc.statuses import Failure, settle
from diffmask_service.transport.grpc.streams import answer_in_order, stream_stopped


class _Named(Protocol):
    """A message with a name by which its caller knows the answer."""

    @property
    def id(self) -> str:
        """The name; empty for none."""


_Message = TypeVar("_Message", bound=_Named)
_Answer = TypeVar("_Answer")
_Response = TypeVar("_Response")
# What takes the place of a message that does not parse says so by its type.
OrMalformed: TypeAlias = _Message | MalformedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMethod(Generic[_Message, _Answer, _Response]):
    """A method with a stream of requests, in the terms of its protocol.

    Attributes:
        name: As the log spells it.
        answer: Answers one request; what it raises becomes a failure of that request.
        write_answer: Spells an answer to the request that its caller named so.
        write_failure: Spells a failure of the request that its caller named so, and
            that the log knows by its call.
    """

    name: str
    answer: Callable[[_Message, Call], Awaitable[_Answer]]
    write_answer: Callable[[str, _Answer], _Response]
    write_failure: Callable[[str, Failure, Call], _Response]


class Streams:
    """Answers the streams of a server.

    Args:
        stopping: Set when the server begins to stop, which ends them.
        window: Most requests of a stream in progress, >= 1.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self, *, stopping: asyncio.Event, window: int, clock: Callable[[], float]
    ) -> None:
        self._stopping = stopping
        self._window = window
        self._clock = clock

    async def answer(
        self,
        requests: AsyncIterator[OrMalformed[_Message]],
        method: StreamMethod[_Message, _Answer, _Response],
        *,
        write: Callable[[_Response], Awaitable[None]],
    ) -> None:
        """Answer the requests of the present call.

        Args:
            requests: What arrives.
            method: How each of them is answered.
            write: Sends one answer.

        Raises:
            NotReadyError: The server stopped before the caller ended the stream.
        """
        stream, numbers = CURRENT_CALL.get(), itertools.count(1)
        is_complete = await answer_in_order(
            requests,
            answer=lambda request: self._answer_one(
                request, method, stream=stream, number=next(numbers)
            ),
            write=write,
            window=self._window,
            stopping=self._stopping,
        )
        if not is_complete:
            raise stream_stopped()

    async def _answer_one(
        self,
        request: OrMalformed[_Message],
        method: StreamMethod[_Message, _Answer, _Response],
        *,
        stream: Call,
        number: int,
    ) -> _Response:
        began = self._clock()
        call = Call(request_id=f"{stream.request_id}.{number}")
        outcome = await settle(
            _answer_parsed(request, method, call), request_id=call.request_id
        )
        code = outcome.code if isinstance(outcome, Failure) else grpc.StatusCode.OK
        if code is grpc.StatusCode.UNAVAILABLE and self._stopping.is_set():
            # Read, but too late to be taken: the stream ends before it.
            raise stream_stopped()
        call.log(f"{method.name}/request", code, seconds=self._clock() - began)
        stream.add(call)
        name = "" if isinstance(request, MalformedMessage) else request.id
        if isinstance(outcome, Failure):
            return method.write_failure(name, outcome, call)
        return method.write_answer(name, outcome)


async def _answer_parsed(
    request: OrMalformed[_Message],
    method: StreamMethod[_Message, _Answer, _Response],
    call: Call,
) -> _Answer:
    if isinstance(request, MalformedMessage):
        raise request.error()
    return await method.answer(request, call)
