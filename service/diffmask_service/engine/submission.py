"""Texts that were submitted together: what they share, and what each of them got."""

import asyncio
from dataclasses import dataclass, field

from diffmask_service.core.batching import Shape
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one text got.

    Attributes:
        outputs: Its outputs, a batch of one.
        began: When its run began, on the batcher's clock.
        ended: When its run ended, likewise.
        queue_seconds: Wait for a free worker, seconds.
        infer_seconds: Its share of the run, seconds.
    """

    outputs: Outputs
    began: float
    ended: float
    queue_seconds: float
    infer_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One text that waits to be run.

    Attributes:
        row: What the graph reads.
        shape: What decides whom it may share a run with.
        priority: Its level, 1 for the highest.
        place: Its place in the line; the lesser comes first, no two are equal.
        submission: What it came with.
    """

    row: Row
    shape: Shape
    priority: int
    place: tuple[float, int]
    submission: "Submission"


@dataclass(slots=True, kw_only=True, eq=False)
class Submission:
    """Texts of one caller, who waits for all of them, and hears of the first failure.

    It changes on its event loop alone; other threads may ask whether it is over.

    Attributes:
        deadline: When the caller gives up, on the batcher's clock.
        enqueued: When it came, on the same clock.
        future: Where the answers go, in the order of the entries.
        entries: The texts; none once it is over.
    """

    deadline: float
    enqueued: float
    future: asyncio.Future[list[Ran]]
    entries: tuple[Entry, ...] = ()
    _answers: dict[Entry, Ran] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more: all is answered, failed or cancelled."""
        return self.future.done()

    @property
    def unanswered(self) -> list[Entry]:
        """The entries without an answer."""
        return [entry for entry in self.entries if entry not in self._answers]

    def answer(self, entry: Entry, ran: Ran) -> None:
        """Give one of its entries an answer; too late changes nothing."""
        if self.is_over:
            return
        self._answers[entry] = ran
        if len(self._answers) == len(self.entries):
            self.future.set_result([self._answers[each] for each in self.entries])

    def fail(self, error: Exception) -> None:
        """Tell the caller of a failure; too late changes nothing."""
        if not self.is_over:
            self.future.set_exception(error)
