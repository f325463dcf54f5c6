"""What is known of the request in progress, and its one line in the access log."""

import logging
from contextvars import ContextVar
from dataclasses import dataclass, field

import grpc

from diffmask_service.core.values import Reply, Timings

_LOG = logging.getLogger("diffmask_service.access")
_LINE = (
    "id=%s method=%s code=%s texts=%d tokens=%d seconds=%.4f tokenize=%.4f queue=%.4f"
    " infer=%.4f decode=%.4f"
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, or one request of a stream; filled in as it is handled.

    Attributes:
        request_id: Its identity in the log.
        num_texts: Texts that were answered.
        num_tokens: Their tokens.
        timings: Where the time went.
    """

    request_id: str
    num_texts: int = 0
    num_tokens: int = 0
    timings: Timings = field(default_factory=Timings)

    def note(self, reply: Reply) -> None:
        """Take down what the log will say of an answer."""
        self.num_texts = len(reply.explanations)
        self.num_tokens = sum(each.num_tokens for each in reply.explanations)
        self.timings = reply.timings

    def add(self, part: "Call") -> None:
        """Take down one request of a stream: sums, and the longest wait."""
        self.num_texts += part.num_texts
        self.num_tokens += part.num_tokens
        self.timings = self.timings.joined(part.timings)

    def log(self, method: str, code: grpc.StatusCode, *, seconds: float) -> None:
        """Write the line: never a text, a token or a gate.

        Args:
            method: What was called.
            code: How it ended.
            seconds: How long it took, seconds.
        """
        if not _LOG.isEnabledFor(logging.INFO):
            return
        timings = self.timings
        arguments = (
            self.request_id,
            method,
            code.name,
            self.num_texts,
            self.num_tokens,
            seconds,
            timings.tokenize_seconds,
            timings.queue_seconds,
            timings.infer_seconds,
            timings.decode_seconds,
        )
        # `_LOG.info` would first walk up the stack to see who calls.
        _LOG.handle(
            _LOG.makeRecord(_LOG.name, logging.INFO, "", 0, _LINE, arguments, None)
        )


CURRENT_CALL: ContextVar[Call] = ContextVar("diffmask_call")
