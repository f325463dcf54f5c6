"""What goes into a stream of requests and how what comes back is read."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import grpc

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
# sending hardly ever waits: see `Exchange.translate`.
MAX_UNANSWERED = 256
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
        # When a stream ends while a request is being sent, gRPC's client for event
        # loops reports that, and not how the stream ended.
        details = getattr(error, "debug_error_string", str)()
        if "SendMessageOperation" in str(details):
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
