"""The queue in front of the graph: texts are handed in, and their callers get answers.

Lives on one event loop; what threads share is the workers' business. Here requests
become entries with a place in the line, learn what came of their runs, and leave; and
the runs that have ended tell how fast the graph is and whether it works.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence

from diffmask_service.core.batching import BatchPolicy, Shape
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.pace import Pace
from diffmask_service.engine.runs import (
    HealthListener,
    Run,
    RunCounter,
    failure_of,
    pick,
)
from diffmask_service.engine.submission import Entry, Ran, Submission
from diffmask_service.engine.workers import EndedRun, Workers
from diffmask_service.errors import NotReadyError

# Runs that must fail one after the other before the model counts as unhealthy.
_FAILURES_TO_UNHEALTHY = 3


class Batcher:
    """Moves entries from the queue through the graph to their callers.

    Args:
        run: One run of the graph.
        num_workers: Runs at the same time, >= 1.
        niceness: How many nice levels less urgent the threads of the workers are than
            the event loop, >= 0.
        policy: Which entries share a run.
        priority_step_seconds: How much earlier than it came a request counts as having
            come, for each level that it stands above another, >= 0.
        counter: Told of every run and every expired entry.
        on_health: Told when runs begin to fail one after the other, and when one
            succeeds again.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        run: Run,
        *,
        num_workers: int,
        niceness: int = 0,
        policy: BatchPolicy,
        priority_step_seconds: float,
        counter: RunCounter,
        on_health: HealthListener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._priority_step_seconds = priority_step_seconds
        self._on_health = on_health
        self._clock = clock
        self._num_workers = num_workers
        self._numbers = itertools.count()
        self._pace = Pace()
        self._num_failures = 0
        self._is_closed = False
        self._workers = Workers(
            run,
            num_workers=num_workers,
            niceness=niceness,
            policy=policy,
            counter=counter,
            on_ended=self._deliver,
            clock=clock,
        )

    async def submit(
        self,
        rows: Sequence[Row],
        *,
        fetches: tuple[str, ...],
        deadline: float,
        arrived: float,
        priority: int = 1,
    ) -> list[Ran]:
        """Queue the texts of a request and return what they got, in their order.

        A caller who is cancelled takes its texts out of the queue.

        Args:
            rows: What the graph reads, at least one text.
            fetches: Names of the outputs to compute.
            deadline: When the caller gives up, on the batcher's clock.
            arrived: When its request came, on the batcher's clock; later runs of the
                same request keep the place of the first.
            priority: Its level, 1 for the highest.

        Raises:
            DeadlineError: The deadline passed before all of them were run.
            InferenceError: The graph failed on one of them.
            NotReadyError: The batcher was closed.
        """
        if self._is_closed:
            # No thread is left that would run it.
            raise _stopped()
        loop = asyncio.get_running_loop()
        submission = Submission(
            deadline=deadline, enqueued=self._clock(), future=loop.create_future()
        )
        rank_seconds = arrived + (priority - 1) * self._priority_step_seconds
        submission.entries = tuple(
            Entry(
                row=row,
                shape=Shape(num_tokens=len(row.input_ids), fetches=fetches),
                priority=priority,
                place=(rank_seconds, next(self._numbers)),
                submission=submission,
            )
            for row in rows
        )
        # The caller hears at its deadline, whatever the workers are busy with.
        timer = loop.call_later(
            max(0.0, deadline - submission.enqueued), self._workers.time_out, submission
        )
        self._workers.put(submission.entries)
        try:
            return await submission.future
        finally:
            timer.cancel()
            if unanswered := submission.unanswered:
                self._workers.withdraw(unanswered)
            # They name it as well, and a circle would live until the next collection.
            submission.entries = ()

    def estimate_seconds(self, num_tokens: int) -> float:
        """Return about how long the workers take over a number of tokens, seconds."""
        return num_tokens * self._pace.token_seconds / self._num_workers

    def foretell_seconds(self, priority: int, *, num_tokens: int = 0) -> float:
        """Return when a newcomer will about have been run, seconds from now.

        0 while a worker is free, or too few runs were seen to tell. The runs in
        progress are left out, and so are verifying runs that nobody has asked for yet.

        Args:
            priority: The newcomer's level, 1 for the highest.
            num_tokens: Its own tokens; none tells when its turn comes.
        """
        if self._workers.is_any_idle or not self._pace.is_measured:
            return 0.0
        waiting = self._workers.count_tokens(priority=priority)
        return self.estimate_seconds(waiting + num_tokens)

    def count_waiting(self) -> int:
        """Return how many entries wait; callable from any thread."""
        return len(self._workers)

    async def join(self) -> None:
        """Wait for the runs that go on, and free the threads; nothing runs any more."""
        await self._workers.join()

    def close(self) -> None:
        """Fail what still waits, let the running end, and free the threads."""
        self._is_closed = True
        for entry in self._workers.withdraw_all():
            entry.submission.fail(_stopped())
        self._workers.close()

    def _deliver(self, run: EndedRun) -> None:
        group, result, seconds = run.group, run.result, run.ended - run.began
        self._record(group, seconds, is_failed=isinstance(result, Exception))
        for place, entry in enumerate(group):
            submission = entry.submission
            if submission.is_over:
                continue
            if isinstance(result, Exception):
                submission.fail(failure_of(result))
                continue
            submission.answer(
                entry,
                Ran(
                    outputs=pick(result, place, num_tokens=entry.shape.num_tokens),
                    began=run.began,
                    ended=run.ended,
                    queue_seconds=run.began - submission.enqueued,
                    infer_seconds=seconds / len(group),
                ),
            )

    def _record(self, group: list[Entry], seconds: float, *, is_failed: bool) -> None:
        if is_failed:
            self._num_failures += 1
            if self._num_failures == _FAILURES_TO_UNHEALTHY:
                self._on_health(is_healthy=False)
            return
        if self._num_failures >= _FAILURES_TO_UNHEALTHY:
            self._on_health(is_healthy=True)
        self._num_failures = 0
        num_tokens = sum(entry.shape.num_tokens for entry in group)
        self._pace.note(num_tokens=num_tokens, seconds=seconds)


def _stopped() -> NotReadyError:
    return NotReadyError("the server stopped before this text was run")
