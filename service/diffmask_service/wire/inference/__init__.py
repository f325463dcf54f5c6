"""The Open Inference Protocol: its messages, and their conversion from and to values.

Explanations are further outputs of an inference. Nothing here decides anything about
the domain; what is asked of a model is checked against what it has.
"""

from diffmask_service.wire.inference.models import (
    Running,
    config_to_message,
    metadata_to_message,
    statistics_to_message,
)
from diffmask_service.wire.inference.replies import failure_to_message, write_reply
from diffmask_service.wire.inference.requests import InferCall, read_request

__all__ = [
    "InferCall",
    "Running",
    "config_to_message",
    "failure_to_message",
    "metadata_to_message",
    "read_request",
    "statistics_to_message",
    "write_reply",
]
