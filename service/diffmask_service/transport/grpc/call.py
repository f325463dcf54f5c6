"""What is known of the call in progress: its identity, and notes for the access log."""

from contextvars import ContextVar
from dataclasses import dataclass, field

from diffmask_service.core.values import Reply, Timings


@dataclass(slots=True, kw_only=True)
class Call:
    """One call; filled in as it is handled.

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


CURRENT_CALL: ContextVar[Call] = ContextVar("diffmask_call")
