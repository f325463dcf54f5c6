"""Send a plan, open loop: nobody waits for anybody's answer.

A call's latency counts from the moment for which it was planned, not from the one in
which it was sent. A server, or a driver, that stalls therefore pays for all the calls
that it kept waiting, which a closed loop would never have sent (coordinated omission).
"""

import asyncio
import itertools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import grpc.aio

from benchmarks.traffic.plan import PlannedCall
from benchmarks.traffic.targets import Target

_PUSHBACK = "grpc-retry-pushback-ms"
_REQUEST_ID = "x-request-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call ended.

    Attributes:
        status: Name of its gRPC status.
        retry_after_seconds: The server's hint when to try again; None without one.
        request_id: Its identity in the server's log.
    """

    status: str
    retry_after_seconds: float | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A call after the run.

    Attributes:
        call: What was planned.
        ending: How it ended.
        latency_seconds: From the planned moment to the end, seconds.
        lag_seconds: From the planned moment to the send, seconds: the driver's fault.
    """

    call: PlannedCall
    ending: Ending
    latency_seconds: float
    lag_seconds: float


class Clock(Protocol):
    """Time as the driver sees it."""

    def time(self) -> float:
        """Return the monotonic time, seconds."""
        ...

    async def sleep_until(self, when: float) -> None:
        """Let others run until a time, at least once."""
        ...


class LoopClock:
    """The time of the running event loop."""

    def time(self) -> float:
        """Return the monotonic time, seconds."""
        return asyncio.get_running_loop().time()

    async def sleep_until(self, when: float) -> None:
        """Let others run until a time, at least once."""
        await asyncio.sleep(max(0.0, when - self.time()))


Send = Callable[[PlannedCall], Awaitable[Ending]]


async def drive(
    plan: Sequence[PlannedCall], send: Send, *, clock: Clock | None = None
) -> list[Outcome]:
    """Send every call at its moment and wait for all of their ends.

    Args:
        plan: The calls, in order of their moments.
        send: Makes one call.
        clock: Time; None for the event loop's.
    """
    clock = clock or LoopClock()
    began = clock.time()

    async def follow(call: PlannedCall) -> Outcome:
        sent = clock.time()
        ending = await send(call)
        return Outcome(
            call=call,
            ending=ending,
            latency_seconds=clock.time() - began - call.at_seconds,
            lag_seconds=sent - began - call.at_seconds,
        )

    following = []
    for call in plan:
        await clock.sleep_until(began + call.at_seconds)
        following.append(asyncio.ensure_future(follow(call)))
    return await asyncio.gather(*following)


class GrpcSend:
    """Makes calls of one method over one channel.

    Args:
        channel: Where they go.
        target: The method.
    """

    def __init__(self, channel: grpc.aio.Channel, target: Target) -> None:
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = (
            channel.unary_unary(target.path)
        )
        self._series = secrets.token_hex(8)
        self._numbers = itertools.count()

    async def __call__(self, call: PlannedCall) -> Ending:
        """Make one call, leave it if that is the plan, and say how it ended."""
        request_id = f"{self._series}.{next(self._numbers)}"
        rpc = self._method(
            call.message,
            timeout=call.timeout_seconds,
            metadata=((_REQUEST_ID, request_id),),
        )
        timer = None
        if call.cancel_after_seconds is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(call.cancel_after_seconds, rpc.cancel)
        try:
            await rpc
        except grpc.aio.AioRpcError as error:
            return Ending(
                status=error.code().name,
                retry_after_seconds=_retry_hint(error),
                request_id=request_id,
            )
        except asyncio.CancelledError:
            # Ours, and not that of whoever waits for us.
            if not rpc.cancelled():
                raise
            return Ending(status="CANCELLED", request_id=request_id)
        finally:
            if timer is not None:
                timer.cancel()
        return Ending(status="OK", request_id=request_id)


def _retry_hint(error: grpc.aio.AioRpcError) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == _PUSHBACK:
            return int(value) / 1000
    return None
