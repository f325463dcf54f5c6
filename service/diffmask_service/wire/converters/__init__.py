"""Protobuf messages to core values and back.

Both directions of each conversion stand side by side. A message from the wire is parsed
once, here: what leaves is either a value that cannot be wrong or an error that names
the field. Nothing here decides anything about the domain.
"""

from diffmask_service.wire.converters.models import model_from_proto, model_to_proto
from diffmask_service.wire.converters.replies import reply_from_proto, reply_to_proto
from diffmask_service.wire.converters.requests import (
    ExplainCall,
    request_from_proto,
    request_to_proto,
)
from diffmask_service.wire.converters.streams import (
    StreamRequest,
    stream_request_from_proto,
    stream_request_to_proto,
)

__all__ = [
    "ExplainCall",
    "StreamRequest",
    "model_from_proto",
    "model_to_proto",
    "reply_from_proto",
    "reply_to_proto",
    "request_from_proto",
    "request_to_proto",
    "stream_request_from_proto",
    "stream_request_to_proto",
]
