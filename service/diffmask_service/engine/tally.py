"""Counts what an engine does, for callers who ask it; metrics are counted apart."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from diffmask_service.core.statistics import ModelStatistics, Total
from diffmask_service.core.values import Outputs, Reply
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.runs import Run


def _now_seconds() -> float:
    return datetime.now(UTC).timestamp()


class _Sum:
    # A total in the making.
    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    @property
    def total(self) -> Total:
        return Total(count=self.count, seconds=self.seconds)


class Tally:
    """Statistics in the making; safe to use from several threads.

    Args:
        clock: Monotonic time, seconds.
        now: Time of day, seconds since 1970.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = _now_seconds,
    ) -> None:
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._num_texts = 0
        self._last_answer_seconds = 0.0
        self._answered, self._failed = _Sum(), _Sum()
        self._tokenized, self._queued = _Sum(), _Sum()
        self._inferred, self._decoded = _Sum(), _Sum()
        self._runs: defaultdict[int, _Sum] = defaultdict(_Sum)

    @property
    def statistics(self) -> ModelStatistics:
        """What was counted so far."""
        with self._lock:
            return ModelStatistics(
                num_texts=self._num_texts,
                last_answer_seconds=self._last_answer_seconds,
                answered=self._answered.total,
                failed=self._failed.total,
                tokenized=self._tokenized.total,
                queued=self._queued.total,
                inferred=self._inferred.total,
                decoded=self._decoded.total,
                runs_by_num_texts={n: runs.total for n, runs in self._runs.items()},
            )

    def counting(self, run: Run) -> Run:
        """Return a run of the graph that is counted.

        Args:
            run: What to count.
        """

        def counted(rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
            began = self._clock()
            outputs = run(rows, fetches=fetches)
            self._count_run(len(rows), self._clock() - began)
            return outputs

        return counted

    def answer(self, reply: Reply, *, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            reply: The answer.
            seconds: How long it took, seconds.
        """
        timings = reply.timings
        with self._lock:
            self._num_texts += len(reply.explanations)
            self._last_answer_seconds = self._now()
            self._answered.add(seconds)
            self._tokenized.add(timings.tokenize_seconds)
            self._queued.add(timings.queue_seconds)
            self._inferred.add(timings.infer_seconds)
            self._decoded.add(timings.decode_seconds)

    def fail(self, *, seconds: float) -> None:
        """Count a request that was not answered.

        Args:
            seconds: How long it took, seconds.
        """
        with self._lock:
            self._failed.add(seconds)

    def _count_run(self, num_texts: int, seconds: float) -> None:
        with self._lock:
            self._runs[num_texts].add(seconds)
