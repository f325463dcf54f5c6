"""Counts what an engine does, for callers who ask it; metrics are counted apart."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from diffmask_service.core.statistics import ModelStatistics, Total
from diffmask_service.core.values import Outputs, Reply
from diffmask_service.engine.batcher import Run
from diffmask_service.engine.feeds import Row


def _now_seconds() -> float:
    return datetime.now(UTC).timestamp()


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
        self._statistics = ModelStatistics()

    @property
    def statistics(self) -> ModelStatistics:
        """What was counted so far."""
        return self._statistics

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
            so_far = self._statistics
            self._statistics = replace(
                so_far,
                num_texts=so_far.num_texts + len(reply.explanations),
                last_answer_seconds=self._now(),
                answered=so_far.answered.plus(seconds),
                tokenized=so_far.tokenized.plus(timings.tokenize_seconds),
                queued=so_far.queued.plus(timings.queue_seconds),
                inferred=so_far.inferred.plus(timings.infer_seconds),
                decoded=so_far.decoded.plus(timings.decode_seconds),
            )

    def fail(self, *, seconds: float) -> None:
        """Count a request that was not answered.

        Args:
            seconds: How long it took, seconds.
        """
        with self._lock:
            so_far = self._statistics
            self._statistics = replace(so_far, failed=so_far.failed.plus(seconds))

    def _count_run(self, num_texts: int, seconds: float) -> None:
        with self._lock:
            runs = self._statistics.runs_by_num_texts
            of_size = runs.get(num_texts, Total()).plus(seconds)
            self._statistics = replace(
                self._statistics, runs_by_num_texts={**runs, num_texts: of_size}
            )
