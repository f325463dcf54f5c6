"""What goes into a stream of requests and how what comes back is read."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio

from diffmask_service.client.calls import ExplainKeywords, Inputs, explain_call
from diffmask_service.client.channel import error_of, translate
from diffmask_service.core.values import Reply
from diffmask_service.errors import DiffMaskError, NotReadyError, ServerError
from diffmask_service.wire.converters import (
    StreamRequest,
    reply_from_proto,
    stream_request_to_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb

PATH = "/diffmask.v1.Explainer/ExplainStream"
parse_bytes = pb.ExplainStreamResponse.FromString
# Many times the window that a server has unless told otherwise, and few enough that
# sending hardly ever waits: see `Ending`.
MAX_UNANSWERED = 256
# A status that follows a failed sending is on this machine already.
_STATUS_SECONDS = 5.0
_STATUS_BY_NUMBER = {status.value[0]: status for status in grpc.StatusCode}
_Value = TypeVar("_Value")


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Both directions of one stream, whichever way it is carried.

    What the caller's iterable raises does not go through gRPC, which would hide it: it
    ends the requests, and is raised once everything before it is answered.

    Attributes:
        target: Host and port of the server, for messages.
        keywords: What every request has beside its texts.
        timeout_seconds: Time for each request, seconds.
        num_sent: Requests that went out.
        num_answered: Replies that came back.
        error: What the caller's iterable raised.
        room: For requests without a reply: `write_async` takes of it, and whoever reads
            the replies for it gives back.
    """

    target: str
    keywords: ExplainKeywords
    timeout_seconds: float
    num_sent: int = 0
    num_answered: int = 0
    error: BaseException | None = None
    room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_UNANSWERED)
    )

    def write(self, batches: Iterable[Inputs]) -> Iterator[bytes]:
        """Yield the messages of the requests."""
        try:
            for batch in batches:
                yield self._message(batch)
        # It is raised again where the caller can see it.
        except BaseException as error:  # noqa: BLE001
            self.error = error

    async def write_async(
        self, batches: AsyncIterable[Inputs] | Iterable[Inputs]
    ) -> AsyncIterator[bytes]:
        """Yield the messages of the requests."""
        try:
            if isinstance(batches, AsyncIterable):
                async for batch in batches:
                    await self.room.acquire()
                    yield self._message(batch)
            else:
                for batch in batches:
                    await self.room.acquire()
                    yield self._message(batch)
        # As above; a cancellation is not the caller's iterable's.
        except Exception as error:  # noqa: BLE001
            self.error = error

    def read(self, message: pb.ExplainStreamResponse) -> Reply | DiffMaskError:
        """Return what one message says of the next request.

        Raises:
            ServerError: It is the reply to another request.
        """
        if message.id not in ("", str(self.num_answered)):
            raise ServerError(
                f"{self.target} answered request {message.id} of a stream in place of"
                f" {self.num_answered}",
                code="INTERNAL",
            )
        self.num_answered += 1
        if not message.HasField("failure"):
            return reply_from_proto(message.response)
        failure = message.failure
        hint = failure.HasField("retry_after_seconds")
        return error_of(
            _STATUS_BY_NUMBER.get(failure.code, grpc.StatusCode.UNKNOWN),
            failure.message,
            retry_after_seconds=failure.retry_after_seconds if hint else None,
            target=self.target,
        )

    def finish(self) -> None:
        """Check a stream that ended well.

        Raises:
            ServerError: Requests were left without a reply.
        """
        if self.error is not None:
            raise self.error
        if self.num_answered < self.num_sent:
            raise ServerError(
                f"{self.target} ended a stream after {self.num_answered} of"
                f" {self.num_sent} replies",
                code="INTERNAL",
            )

    def translate(self, error: grpc.RpcError) -> DiffMaskError:
        """Return the error that a failed stream stands for."""
        if _is_of_sending(error):
            return NotReadyError(
                f"{self.target} ended the stream after {self.num_answered} replies,"
                " while a request was being sent"
            )
        return translate(error, self.target)

    def _message(self, batch: Inputs) -> bytes:
        request = StreamRequest(
            id=str(self.num_sent),
            call=explain_call(batch, **self.keywords),
            timeout_seconds=self.timeout_seconds,
        )
        raw = stream_request_to_proto(request).SerializeToString()
        self.num_sent += 1
        return raw


class Ending:
    """How a stream of gRPC's client for event loops ended.

    When the server ends a stream while a request is being sent, that client reports the
    failed sending, and what the server said only before it or a moment after it: as a
    second status of the same call, of which it tells by the same callback.

    Args:
        call: The stream; nothing was read from it yet.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._said: grpc.RpcError | None = None
        self._is_said = asyncio.Event()
        call.add_done_callback(self._note)

    async def error(self, reported: grpc.RpcError) -> grpc.RpcError:
        """Return what the server said; what was reported if it said nothing.

        Args:
            reported: What reading from the stream raised.
        """
        if _is_of_sending(reported):
            try:
                async with asyncio.timeout(_STATUS_SECONDS):
                    await self._is_said.wait()
            except TimeoutError:
                pass
        return self._said or reported

    def _note(self, call: Any) -> None:
        status = _value_of(_status(call))
        if not _is_of_sending(status) and status.code() is not grpc.StatusCode.OK:
            self._said = status
            self._is_said.set()


async def _status(call: grpc.aio.Call) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        await call.code(),
        await call.initial_metadata(),
        await call.trailing_metadata(),
        details=await call.details(),
        debug_error_string=await call.debug_error_string(),  # type: ignore[attr-defined]
    )


def _value_of(work: Coroutine[Any, Any, _Value]) -> _Value:
    # At once, and not in a task: a later status would take the place of this one.
    try:
        work.send(None)
    except StopIteration as done:
        value: _Value = done.value
        return value
    raise AssertionError("a call that has a status need not be waited for")


def _is_of_sending(error: grpc.RpcError) -> bool:
    details = getattr(error, "debug_error_string", str)()
    return "SendMessageOperation" in str(details)
