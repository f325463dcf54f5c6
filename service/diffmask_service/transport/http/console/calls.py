"""Calls of the API whose messages are JSON: the same servicer, statuses and figures."""

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from diffmask_service.errors import InvalidInput
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.access import Access
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.server import SERVICE
from diffmask_service.transport.grpc.servicer import ExplainerServicer
from diffmask_service.transport.grpc.statuses import Failure, settle

# Source: google/rpc/code.proto, "HTTP Mapping".
HTTP_STATUS_BY_CODE: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# Streams have no form as one JSON message.
_METHOD_BY_NAME = {
    method.name: method
    for method in SERVICE.methods
    if not (method.client_streaming or method.server_streaming)
}
METHOD_NAMES = tuple(_METHOD_BY_NAME)


class Asking(Protocol):
    """A browser's request, and the browser as long as it waits for the answer."""

    @property
    def authorization(self) -> str:
        """Value of the header; empty for none."""

    async def read(self) -> bytes | None:
        """Return the body; None when it is larger than the server takes.

        Raises:
            DiffMaskError: It may not be sent like this, or does not arrive.
        """

    async def left(self) -> None:
        """Wait until nobody waits any more; after the body was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back to the browser.

    Attributes:
        status: Of HTTP.
        content: The response message, or of a failure `code`, `message` and, when
            trying again may work, `retry_after_seconds`; JSON values.
    """

    status: int
    content: Mapping[str, Any]


class JsonCalls:
    """Answers the API's calls of one message each, from a thread of its own.

    Made on the event loop of the servicer, it may be used on any other.

    Args:
        servicer: What answers, on the event loop that this is made on.
        access: Which token opens what.
        telemetry: Where calls are counted, as those over gRPC are.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        servicer: ExplainerServicer,
        access: Access,
        *,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servicer = servicer
        self._access = access
        self._telemetry = telemetry
        self._clock = clock
        self._loop = asyncio.get_running_loop()

    async def answer(self, name: str, asking: Asking) -> Answer:
        """Answer one call, count it and write its line in the log.

        Args:
            name: Of the method, one of `METHOD_NAMES`.
            asking: Who calls.
        """
        call = Call(request_id=uuid.uuid4().hex)
        CURRENT_CALL.set(call)
        service, began = SERVICE.full_name, self._clock()
        self._telemetry.begin_call(service, name, request_id=call.request_id)
        code = grpc.StatusCode.CANCELLED
        try:
            outcome = await settle(
                self._respond(name, asking), request_id=call.request_id
            )
            failure = outcome if isinstance(outcome, Failure) else None
            code = grpc.StatusCode.OK if failure is None else failure.code
        finally:
            seconds = self._clock() - began
            self._telemetry.end_call(service, name, code=code.name, seconds=seconds)
            call.log(name, code, seconds=seconds)
        return _answer_of(outcome)

    async def _respond(self, name: str, asking: Asking) -> Message | Failure:
        refusal = self._access.refusal(
            f"/{SERVICE.full_name}/{name}", asking.authorization
        )
        if refusal is not None:
            raise refusal
        body = await asking.read()
        if body is None:
            return Failure(
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                message="the request is too large; send fewer or shorter texts",
            )
        request = _parse(name, body)
        work = getattr(self._servicer, name)(request, _NoDeadline())
        return await self._unless_left(work, asking)

    async def _unless_left(
        self, work: Coroutine[Any, Any, Message], asking: Asking
    ) -> Message | Failure:
        # The call's context goes along: its line in the log, and its span.
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        working = asyncio.wrap_future(future)
        leaving = asyncio.create_task(asking.left())
        either: set[asyncio.Future[Any]] = {working, leaving}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            return Failure(code=grpc.StatusCode.CANCELLED, message="nobody waits")
        finally:
            # Cancels the work on its own loop as well.
            working.cancel()
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)


class _NoDeadline:
    """All that the servicer asks of a call's context."""

    def time_remaining(self) -> None:
        """Leave the deadline to the server's default."""


def _parse(name: str, body: bytes) -> Message:
    kind = GetMessageClass(_METHOD_BY_NAME[name].input_type)
    try:
        return Parse(body, kind())
    # Not chained: the error may quote what it failed on.
    except (ParseError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            f"the request is no {kind.DESCRIPTOR.name} as JSON; its fields are those of"
            " explain.proto"
        ) from None


def _answer_of(outcome: Message | Failure) -> Answer:
    if isinstance(outcome, Failure):
        content: dict[str, Any] = {
            "code": outcome.code.name,
            "message": outcome.message,
        }
        if outcome.retry_after_seconds is not None:
            content["retry_after_seconds"] = outcome.retry_after_seconds
        return Answer(status=HTTP_STATUS_BY_CODE[outcome.code], content=content)
    content = MessageToDict(
        outcome,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return Answer(status=200, content=content)
