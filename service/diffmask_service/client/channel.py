"""What both clients' channels share: options, and the meaning of a failure."""

from collections.abc import Mapping
from typing import Any

import grpc

from diffmask_service.errors import (
    DeadlineError,
    DiffMaskError,
    InvalidInput,
    NotFound,
    NotReadyError,
    OverloadedError,
    ServerError,
)

# A batch of long texts with every gate of a deep model passes gRPC's default of 4 MiB.
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", 256 * 2**20),)
_PUSHBACK = "grpc-retry-pushback-ms"


def translate(error: Any, target: str) -> DiffMaskError:
    """Return the error that a failed call stands for.

    Args:
        error: What the channel raised.
        target: Host and port of the server, for the message.
    """
    # Both of gRPC's error classes answer to these three methods, but share no base that
    # declares them.
    code: grpc.StatusCode = error.code()
    message = error.details() or "no details given"
    trailer = dict(error.trailing_metadata() or ())
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidInput(message)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound(message)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(f"{target} did not answer in time: {message}")
        case grpc.StatusCode.UNAVAILABLE:
            return NotReadyError(f"{target} is not ready: {message}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if _PUSHBACK in trailer:
            return OverloadedError(message, retry_after_seconds=_pushback(trailer))
        case _:
            # Exhaustion with no hint when to retry is a message over a size limit,
            # which waiting does not cure.
            return ServerError(f"{target} failed: {message}", code=code.name)


def _pushback(trailer: Mapping[str, str | bytes]) -> float:
    try:
        return max(0, int(trailer[_PUSHBACK])) / 1000
    except ValueError:
        return 0.0
