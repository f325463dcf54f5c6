"""Requests of a stream, and what comes back for each."""

import math
from dataclasses import dataclass

from diffmask_service.errors import InvalidInput
from diffmask_service.wire.converters.requests import (
    ExplainCall,
    request_from_proto,
    request_to_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """One request of ExplainStream.

    Attributes:
        id: Chosen by the caller; comes back with the reply.
        call: What Explain would take.
        timeout_seconds: Time for this request, seconds, > 0; None for the server's
            default.
    """

    id: str
    call: ExplainCall
    timeout_seconds: float | None


def stream_request_from_proto(message: pb.ExplainStreamRequest) -> StreamRequest:
    """Parse a request of a stream.

    Raises:
        InvalidInput: A field is missing, unknown or contradicts another; the message
            begins with its name.
    """
    timeout = message.timeout_seconds if message.HasField("timeout_seconds") else None
    if timeout is not None and not 0 < timeout < math.inf:
        raise InvalidInput(
            f"timeout_seconds: is {timeout}; give more than 0, or leave it out for the"
            " server's default"
        )
    return StreamRequest(
        id=message.id, call=request_from_proto(message.request), timeout_seconds=timeout
    )


def stream_request_to_proto(request: StreamRequest) -> pb.ExplainStreamRequest:
    """Write a request of a stream.

    Raises:
        InvalidInput: As for `request_to_proto`.
    """
    return pb.ExplainStreamRequest(
        id=request.id,
        request=request_to_proto(request.call),
        timeout_seconds=request.timeout_seconds,
    )
