"""A stream of requests: a window of them in progress, answers in their order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from diffmask_service.errors import NotReadyError

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")
_Value = TypeVar("_Value")


async def answer_in_order(
    requests: AsyncIterator[_Request],
    *,
    answer: Callable[[_Request], Coroutine[Any, Any, _Response]],
    write: Callable[[_Response], Awaitable[None]],
    window: int,
    stopping: asyncio.Event,
) -> bool:
    """Answer requests as they come, several at a time, in their order.

    A request is read only when fewer than `window` are unanswered, so a caller that
    sends faster than the work goes, or reads its answers too slowly, is held back by
    gRPC's flow control. When the caller leaves, everything in progress is cancelled.

    Args:
        requests: What arrives.
        answer: Makes one answer; turns every failure into one.
        write: Sends one answer.
        window: Most requests taken and not yet answered, >= 1.
        stopping: Once set, nothing more is read; what was taken is answered.

    Returns:
        Whether the caller ended the stream, rather than the stop.
    """
    if stopping.is_set():
        return False
    room = asyncio.Semaphore(window)
    taken: asyncio.Queue[asyncio.Task[_Response] | None] = asyncio.Queue()
    unsent: set[asyncio.Task[_Response]] = set()

    async def take() -> bool:
        async for request in _with_room(requests, room):
            task = asyncio.create_task(answer(request))
            unsent.add(task)
            taken.put_nowait(task)
        return True

    reading = asyncio.create_task(_unless(take(), stopping, otherwise=False))
    reading.add_done_callback(lambda _: taken.put_nowait(None))
    try:
        while (task := await taken.get()) is not None:
            await write(await task)
            unsent.discard(task)
            room.release()
        return await reading
    finally:
        for left in (reading, *unsent):
            left.cancel()
        await asyncio.gather(reading, *unsent, return_exceptions=True)


def stream_stopped() -> NotReadyError:
    """Return what ends a stream when the server stops."""
    return NotReadyError("the server is stopping; open the stream on another")


async def _with_room(
    requests: AsyncIterator[_Request], room: asyncio.Semaphore
) -> AsyncIterator[_Request]:
    # Room first: what is read is taken, and must be answered.
    await room.acquire()
    async for request in requests:
        yield request
        await room.acquire()


async def _unless(
    work: Coroutine[Any, Any, _Value], event: asyncio.Event, *, otherwise: _Value
) -> _Value:
    # The result of the work, or something else once the event is set before.
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else otherwise
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
