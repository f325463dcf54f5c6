"""What a model did since it was loaded, in whole numbers and seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A number of events and how long they took together.

    Attributes:
        count: How many, >= 0.
        seconds: How long, seconds, >= 0.
    """

    count: int = 0
    seconds: float = 0.0

    def plus(self, seconds: float) -> "Total":
        """Return the total with one more event."""
        return Total(count=self.count + 1, seconds=self.seconds + seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """Requests of a model, their stages, and the runs of its graph.

    Attributes:
        num_texts: Texts that were answered.
        last_answer_seconds: When it last answered, seconds since 1970; 0 for never.
        answered: Requests that were answered, whole.
        failed: Requests that were not.
        tokenized: Answered requests, their stage of tokenizing.
        queued: Likewise, their longest wait for a worker.
        inferred: Likewise, runs of the graph.
        decoded: Likewise, arrays to explanations.
        runs_by_num_texts: Runs of the graph, by how many texts shared them.
    """

    num_texts: int = 0
    last_answer_seconds: float = 0.0
    answered: Total = field(default_factory=Total)
    failed: Total = field(default_factory=Total)
    tokenized: Total = field(default_factory=Total)
    queued: Total = field(default_factory=Total)
    inferred: Total = field(default_factory=Total)
    decoded: Total = field(default_factory=Total)
    runs_by_num_texts: Mapping[int, Total] = field(default_factory=dict)

    @property
    def num_runs(self) -> int:
        """Runs of the graph."""
        return sum(runs.count for runs in self.runs_by_num_texts.values())
