"""Around every call: its identity, its status, one line in the log, its metrics."""

import asyncio
import functools
import inspect
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from diffmask_service.errors import InvalidInput
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.statuses import Failure, settle

REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# More than there are methods.
_WRAPPED_HANDLERS = 64
_KINDS = {
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}
_MAKER_BY_KIND: Mapping[str, Any] = {
    "unary": grpc.unary_unary_rpc_method_handler,
    "server_stream": grpc.unary_stream_rpc_method_handler,
    "client_stream": grpc.stream_unary_rpc_method_handler,
    "bidi_stream": grpc.stream_stream_rpc_method_handler,
}
_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# In quotes: generic in its stub, not when running.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Work: TypeAlias = Callable[[Any, _Context], Awaitable[Any]]


class MalformedMessage:
    """Stands for a request whose bytes are no message of its type."""

    def error(self) -> InvalidInput:
        """Return what to tell the caller."""
        return InvalidInput(
            "the request is not a valid message; a text may hold bytes that are not"
            " UTF-8"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """Attributes: names, the kind as metrics spell it, and what does the work."""

    service: str
    name: str
    kind: str
    work: _Work


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps some methods, streams as well; others pass uncounted.

    A message that does not parse reaches the handler of a stream of requests as a
    `MalformedMessage`; elsewhere it is refused here.

    Args:
        paths: Full names of the methods, `/package.Service/Method`. Nothing else that
            a caller names gets into a metric or the log.
        telemetry: Where calls are counted.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        paths: Collection[str],
        *,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = frozenset(paths)
        self._telemetry = telemetry
        self._clock = clock
        # Once for each method, not once a call. A refusal is a handler of its own, and
        # callers choose the path, so there is a limit.
        self._wrap = functools.lru_cache(maxsize=_WRAPPED_HANDLERS)(self._wrap_anew)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the method's handler, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        return self._wrap(str(handler_call_details.method), handler)

    def _wrap_anew(self, path: str, handler: "Handler") -> "Handler":
        # Who is refused for want of a token may have named what no handler answers to.
        if path not in self._paths:
            return _refusing_malformed(handler)
        _, service, name = path.split("/")
        method = _Method(
            service=service,
            name=name,
            kind=spell_kind(handler.request_streaming, handler.response_streaming),
            work=_work(handler),
        )

        async def wrapped(request: object, context: _Context) -> object:
            return await self._handle(method, request, context)

        return replace_work(handler, wrapped)

    async def _handle(
        self, method: _Method, request: object, context: _Context
    ) -> object:
        metadata = context.invocation_metadata() or ()
        call = Call(request_id=_request_id(metadata))
        CURRENT_CALL.set(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        began = self._clock()
        self._telemetry.begin_call(
            method.service,
            method.name,
            kind=method.kind,
            metadata=metadata,
            request_id=call.request_id,
        )
        code = grpc.StatusCode.CANCELLED
        try:
            outcome = await settle(
                _answer(method, request, context), request_id=call.request_id
            )
            failure = outcome if isinstance(outcome, Failure) else None
            code = grpc.StatusCode.OK if failure is None else failure.code
        except grpc.aio.AbortError:
            code = _code_of(context)
            raise
        except asyncio.CancelledError:
            code = _cancelled_by(context)
            raise
        finally:
            seconds = self._clock() - began
            self._telemetry.end_call(
                method.service,
                method.name,
                code=code.name,
                seconds=seconds,
                kind=method.kind,
            )
            call.log(method.name, code, seconds=seconds)
        if failure is None:
            return outcome
        identity = (REQUEST_ID_KEY, call.request_id)
        return await context.abort(
            failure.code, failure.message, (identity, *failure.trailers)
        )


def spell_kind(takes_stream: object, gives_stream: object) -> str:
    """Return the kind of a method as metrics spell it.

    Args:
        takes_stream: Whether it takes a stream of requests.
        gives_stream: Whether it gives a stream of responses.
    """
    return _KINDS[bool(takes_stream), bool(gives_stream)]


async def _answer(method: _Method, request: object, context: _Context) -> object:
    if isinstance(request, MalformedMessage):
        raise request.error()
    return await method.work(request, context)


def _work(handler: "Handler") -> _Work:
    behaviour: Any = (
        handler.unary_unary
        or handler.unary_stream
        or handler.stream_unary
        or handler.stream_stream
    )
    if not handler.response_streaming or not inspect.isasyncgenfunction(behaviour):
        return behaviour  # type: ignore[no-any-return]

    async def work(request: object, context: _Context) -> None:
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return work


def _refusing_malformed(handler: "Handler") -> "Handler":
    # gRPC itself would answer a single request that does not parse with UNKNOWN.
    if handler.request_streaming:
        return handler
    work = _work(handler)

    async def refusing(request: object, context: _Context) -> object:
        if isinstance(request, MalformedMessage):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the request is not a valid message"
            )
        return await work(request, context)

    return replace_work(handler, refusing)


def replace_work(
    handler: "Handler | None", work: _Work, *, parses: bool = True
) -> "Handler":
    """Return a handler of the same kind that does something else.

    Its requests that do not parse become a `MalformedMessage`.

    Args:
        handler: The method's own; None when there is no such method.
        work: Takes what the handler takes; sends a stream of responses by itself.
        parses: Whether it takes messages; otherwise their bytes.
    """
    if handler is None:
        return grpc.unary_unary_rpc_method_handler(work)
    make = _MAKER_BY_KIND[
        spell_kind(handler.request_streaming, handler.response_streaming)
    ]
    # gRPC itself would answer a request that does not parse with INTERNAL.
    return make(  # type: ignore[no-any-return]
        work,
        request_deserializer=(
            _tolerant(handler.request_deserializer) if parses else None
        ),
        response_serializer=handler.response_serializer,
    )


def _request_id(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == REQUEST_ID_KEY and _REQUEST_ID.fullmatch(str(value)):
            return str(value)
    return secrets.token_hex(16)


def _tolerant(
    deserialize: Callable[[bytes], Any] | None,
) -> Callable[[bytes], object]:
    def tolerant(raw: bytes) -> object:
        try:
            return raw if deserialize is None else deserialize(raw)
        except DecodeError:
            return MalformedMessage()

    return tolerant


def _code_of(context: _Context) -> grpc.StatusCode:
    number: Any = context.code()
    return next(code for code in grpc.StatusCode if number in (code, code.value[0]))


def _cancelled_by(context: _Context) -> grpc.StatusCode:
    # gRPC cancels the handler both when the caller leaves and when its time is up.
    remaining: float | None = context.time_remaining()
    if remaining is not None and remaining <= 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED
