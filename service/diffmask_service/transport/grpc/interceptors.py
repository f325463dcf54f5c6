"""Around every call: its identity, its status, one line in the log, its metrics.

Here is the only table from our errors to gRPC statuses, and one of the few places that
catch everything: whatever happens, the caller gets a status, and what went wrong inside
stays in the log under the request id.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from diffmask_service.errors import (
    BundleError,
    DeadlineError,
    DiffMaskError,
    DigestMismatch,
    GraphError,
    InferenceError,
    InputTooLong,
    InvalidInput,
    ManifestError,
    NotFound,
    NotReadyError,
    OverloadedError,
    RequestError,
    SchemaVersionError,
    SelfTestError,
    ServerError,
    StartError,
    UnsupportedTask,
)
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call

STATUS_BY_ERROR: Mapping[type[DiffMaskError], grpc.StatusCode] = {
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    InputTooLong: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    UnsupportedTask: grpc.StatusCode.INVALID_ARGUMENT,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotReadyError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    BundleError: grpc.StatusCode.INTERNAL,
    ManifestError: grpc.StatusCode.INTERNAL,
    DigestMismatch: grpc.StatusCode.INTERNAL,
    SchemaVersionError: grpc.StatusCode.INTERNAL,
    GraphError: grpc.StatusCode.INTERNAL,
    SelfTestError: grpc.StatusCode.INTERNAL,
    StartError: grpc.StatusCode.INTERNAL,
    ServerError: grpc.StatusCode.INTERNAL,
    InferenceError: grpc.StatusCode.INTERNAL,
    DiffMaskError: grpc.StatusCode.INTERNAL,
}
REQUEST_ID_KEY = "x-request-id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOG = logging.getLogger("diffmask_service.access")
_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
# In quotes: generic in its stub, not when running.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class _Malformed:
    """Stands for a request whose bytes are no message of its type."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the unary methods of one service; others pass untouched.

    Args:
        service: Full name of the service.
        telemetry: Where calls are counted.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        service: str,
        *,
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._telemetry = telemetry
        self._clock = clock

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the method's handler, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        # Only now: a path that no handler answers to may have any form.
        _, service, method = str(handler_call_details.method).split("/", 2)
        if service != self._service:
            return _refusing_malformed(handler)
        answer = handler.unary_unary

        async def wrapped(request: object, context: _Context) -> object:
            return await self._handle(method, answer, request, context)

        # gRPC itself would answer a request that does not parse with INTERNAL.
        return grpc.unary_unary_rpc_method_handler(
            wrapped,
            request_deserializer=_tolerant(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    async def _handle(
        self,
        method: str,
        answer: Callable[[Any, Any], Any],
        request: object,
        context: _Context,
    ) -> object:
        call = Call(request_id=_request_id(context))
        CURRENT_CALL.set(call)
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        began = self._clock()
        self._telemetry.begin_call(self._service, method)
        code, message = grpc.StatusCode.CANCELLED, ""
        try:
            if isinstance(request, _Malformed):
                raise InvalidInput(  # noqa: TRY301 - the table is in the handler below
                    "the request is not a valid message; a text may hold bytes that"
                    " are not UTF-8"
                )
            response = await answer(request, context)
        except DiffMaskError as error:
            code = STATUS_BY_ERROR[type(error)]
            message = _message_for(error, code, call)
            _push_back(error, call, context)
        except asyncio.CancelledError:
            if _is_task_cancelled():
                code = _cancelled_by(context)
                raise
            # A cancellation from within would leave the caller waiting for its own
            # deadline (grpc/grpc issue 29248).
            code, message = grpc.StatusCode.UNAVAILABLE, "the work was abandoned"
        except Exception:  # noqa: BLE001 - no caller sees a traceback
            code, message = grpc.StatusCode.INTERNAL, _fixed_sentence(call)
            _LOG.exception("id=%s failed unexpectedly", call.request_id)
        else:
            code = grpc.StatusCode.OK
            return response
        finally:
            self._finish(method, call, code, seconds=self._clock() - began)
        return await context.abort(code, message)

    def _finish(
        self, method: str, call: Call, code: grpc.StatusCode, *, seconds: float
    ) -> None:
        self._telemetry.end_call(self._service, method, code=code.name, seconds=seconds)
        timings = call.timings
        _LOG.info(
            "id=%s method=%s code=%s texts=%d tokens=%d seconds=%.4f tokenize=%.4f"
            " queue=%.4f infer=%.4f decode=%.4f",
            call.request_id,
            method,
            code.name,
            call.num_texts,
            call.num_tokens,
            seconds,
            timings.tokenize_seconds,
            timings.queue_seconds,
            timings.infer_seconds,
            timings.decode_seconds,
        )


def _refusing_malformed(handler: "grpc.RpcMethodHandler[Any, Any]") -> _Handler:
    # gRPC itself would answer a request that does not parse with UNKNOWN.
    answer: Any = handler.unary_unary

    async def wrapped(request: object, context: _Context) -> object:
        if isinstance(request, _Malformed):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the request is not a valid message"
            )
        response: object = await answer(request, context)
        return response

    return grpc.unary_unary_rpc_method_handler(
        wrapped,
        request_deserializer=_tolerant(handler.request_deserializer),
        response_serializer=handler.response_serializer,
    )


def _request_id(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and _REQUEST_ID.fullmatch(str(value)):
            return str(value)
    return uuid.uuid4().hex


def _message_for(error: DiffMaskError, code: grpc.StatusCode, call: Call) -> str:
    if code is not grpc.StatusCode.INTERNAL:
        return str(error)
    _LOG.error("id=%s failed", call.request_id, exc_info=error)
    return _fixed_sentence(call)


def _fixed_sentence(call: Call) -> str:
    return (
        "the server failed on this request; its log tells more under request id"
        f" {call.request_id}"
    )


def _push_back(error: DiffMaskError, call: Call, context: _Context) -> None:
    if isinstance(error, OverloadedError):
        milliseconds = str(round(error.retry_after_seconds * 1000))
        context.set_trailing_metadata(
            (
                (REQUEST_ID_KEY, call.request_id),
                # Milliseconds by gRPC's retry design (A6); clients obey it.
                ("grpc-retry-pushback-ms", milliseconds),
            )
        )


def _tolerant(
    deserialize: Callable[[bytes], Any] | None,
) -> Callable[[bytes], object]:
    def tolerant(raw: bytes) -> object:
        try:
            return raw if deserialize is None else deserialize(raw)
        except DecodeError:
            return _Malformed()

    return tolerant


def _cancelled_by(context: _Context) -> grpc.StatusCode:
    # gRPC cancels the handler both when the caller leaves and when its time is up.
    remaining: float | None = context.time_remaining()
    if remaining is not None and remaining <= 0:
        return grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.StatusCode.CANCELLED


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
