"""From whatever goes wrong to what the caller is told, and what the log keeps of it.

Here is the only table from our errors to gRPC statuses, and the one place at this edge
that catches everything: whatever happens, the caller gets a status, and what went wrong
inside stays in the log under the request id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import grpc

from diffmask_service.errors import (
    AccessError,
    BundleError,
    DeadlineError,
    DiffMaskError,
    DigestMismatch,
    FolderError,
    GraphError,
    InferenceError,
    InputTooLong,
    InvalidInput,
    ManifestError,
    NotFound,
    NotReadyError,
    OverloadedError,
    PermissionDenied,
    RequestError,
    SchemaVersionError,
    SelfTestError,
    ServerError,
    StartError,
    Unauthenticated,
    UnsupportedTask,
)
from diffmask_service.telemetry import discreet_traceback

STATUS_BY_ERROR: Mapping[type[DiffMaskError], grpc.StatusCode] = {
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    InputTooLong: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    UnsupportedTask: grpc.StatusCode.INVALID_ARGUMENT,
    AccessError: grpc.StatusCode.PERMISSION_DENIED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    NotReadyError: grpc.StatusCode.UNAVAILABLE,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    BundleError: grpc.StatusCode.FAILED_PRECONDITION,
    FolderError: grpc.StatusCode.INTERNAL,
    ManifestError: grpc.StatusCode.FAILED_PRECONDITION,
    DigestMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    SchemaVersionError: grpc.StatusCode.FAILED_PRECONDITION,
    GraphError: grpc.StatusCode.FAILED_PRECONDITION,
    SelfTestError: grpc.StatusCode.FAILED_PRECONDITION,
    StartError: grpc.StatusCode.INTERNAL,
    ServerError: grpc.StatusCode.INTERNAL,
    InferenceError: grpc.StatusCode.INTERNAL,
    DiffMaskError: grpc.StatusCode.INTERNAL,
}
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# A server that stops is gone in a moment, and its replacement or a sibling is there.
_RETRY_WHEN_NOT_READY_SECONDS = 0.5
# A message travels as a header, at worst three times as long. From 8 KiB on clients
# report RESOURCE_EXHAUSTED in its place, and some try that again.
_MAX_MESSAGE_BYTES = 2048
_LOG = logging.getLogger("diffmask_service.access")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a caller is told of a request that was not answered.

    Attributes:
        code: The status.
        message: For people.
        retry_after_seconds: When trying again may work, seconds, >= 0; None when it is
            no question of time.
    """

    code: grpc.StatusCode
    message: str
    retry_after_seconds: float | None = None

    @property
    def trailers(self) -> tuple[tuple[str, str], ...]:
        """What to send beside the status; gRPC's own clients obey it."""
        if self.retry_after_seconds is None:
            return ()
        # Milliseconds by gRPC's retry design (A6).
        return ((PUSHBACK_KEY, str(round(self.retry_after_seconds * 1000))),)


async def settle(work: Awaitable[_Value], *, request_id: str) -> _Value | Failure:
    """Wait for an answer, or for what the caller is told instead.

    Args:
        work: What answers.
        request_id: Identity of the request in the log.

    Raises:
        CancelledError: This very task is cancelled, and nobody waits any more.
        AbortError: The handler has told the caller its status by itself.
    """
    try:
        return await work
    except grpc.aio.AbortError:
        raise
    except asyncio.CancelledError:
        if _is_task_cancelled():
            raise
        # A cancellation from within would leave the caller waiting for its own
        # deadline (grpc/grpc issue 29248).
        return Failure(
            code=grpc.StatusCode.UNAVAILABLE, message="the work was abandoned"
        )
    except Exception as error:  # noqa: BLE001 - no caller sees a traceback
        return failure_of(error, request_id=request_id)


def failure_of(error: Exception, *, request_id: str) -> Failure:
    """Return what a caller is told of an error, and log what it is not told.

    Args:
        error: What went wrong.
        request_id: Identity of the request in the log.
    """
    code = grpc.StatusCode.INTERNAL
    if isinstance(error, DiffMaskError):
        code = STATUS_BY_ERROR[type(error)]
    if code is grpc.StatusCode.INTERNAL:
        shown = discreet_traceback(error)
        _LOG.error("id=%s failed\nexception=%s", request_id, shown)
        return Failure(
            code=code,
            message="the server failed on this request; its log tells more under"
            f" request id {request_id}",
        )
    return Failure(
        code=code, message=_cut(str(error)), retry_after_seconds=_retry(error)
    )


def _cut(message: str) -> str:
    # Those that list what there is may be long: a repository of hundreds of models.
    raw = message.encode(errors="replace")
    if len(raw) <= _MAX_MESSAGE_BYTES:
        return message
    return raw[:_MAX_MESSAGE_BYTES].decode(errors="ignore") + " ..."


def _retry(error: Exception) -> float | None:
    if isinstance(error, OverloadedError | DeadlineError):
        return error.retry_after_seconds
    if isinstance(error, NotReadyError):
        return _RETRY_WHEN_NOT_READY_SECONDS
    return None


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
