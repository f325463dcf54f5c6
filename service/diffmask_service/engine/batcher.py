"""The queue in front of the graph: cut, run on a worker thread, deliver.

Lives on one event loop, but for its workers: one that has ended a run takes the next
from the line itself, so that the graph never waits for the loop. Who comes first is the
line's order, what shares a run is the policy's choice, how a run works is the
session's; here entries wait, expire, are dropped and get their answers. Nothing polls:
new entries and an ended run are the only events.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from diffmask_service.core.batching import BatchPolicy, Shape
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.line import Line
from diffmask_service.engine.niceness import lower_priority
from diffmask_service.engine.pace import Pace
from diffmask_service.engine.runs import (
    HealthListener,
    Run,
    RunCounter,
    failure_of,
    pick,
)
from diffmask_service.engine.submission import Entry, Ran, Submission
from diffmask_service.errors import DeadlineError, NotReadyError

# How far back a cut looks for entries that may join the oldest one.
_WINDOW_ENTRIES = 64
# Runs that must fail one after the other before the model counts as unhealthy.
_FAILURES_TO_UNHEALTHY = 3
_Argument = TypeVar("_Argument")


@dataclass(frozen=True, slots=True, kw_only=True)
class _EndedRun:
    """Attributes: whose run it was, what came of it, and when, on the batcher's clock.

    `result` is the error of a run that failed.
    """

    group: list[Entry]
    result: Outputs | Exception
    began: float
    ended: float


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
        self._run = run
        self._policy = policy
        self._priority_step_seconds = priority_step_seconds
        self._counter = counter
        self._on_health = on_health
        self._clock = clock
        self._num_workers = num_workers
        self._num_idle = num_workers
        # Over the line, what runs and who is idle, which workers change as well.
        self._lock = threading.Lock()
        self._line = Line()
        self._numbers = itertools.count()
        self._running: set[Entry] = set()
        self._is_pump_due = False
        self._pace = Pace()
        self._num_failures = 0
        self._workers = ThreadPoolExecutor(
            num_workers,
            "diffmask-infer",
            initializer=lower_priority,
            initargs=(niceness,),
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
            max(0.0, deadline - submission.enqueued), self._time_out, submission
        )
        with self._lock:
            for entry in submission.entries:
                self._line.add(entry)
            is_worker_idle = self._num_idle > 0
        # Not at once: requests of the same turn of the loop may share a run. Workers
        # that are busy come to the line by themselves.
        if is_worker_idle and not self._is_pump_due:
            self._is_pump_due = True
            loop.call_soon(self._pump)
        try:
            return await submission.future
        finally:
            timer.cancel()
            self._forget(submission)

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
        if self._num_idle or not self._pace.is_measured:
            return 0.0
        with self._lock:
            waiting = self._line.count_tokens(priority=priority)
        return self.estimate_seconds(waiting + num_tokens)

    def count_waiting(self) -> int:
        """Return how many entries wait; callable from any thread."""
        return len(self._line)

    async def join(self) -> None:
        """Wait for the runs that go on, and free the threads; nothing runs any more."""
        # The pool alone is named in the other thread, so that whoever drops the batcher
        # then has let go of all of it.
        await asyncio.to_thread(self._workers.shutdown)

    def close(self) -> None:
        """Fail what still waits, let the running end, and free the threads."""
        with self._lock:
            waiting = self._line.first(len(self._line))
            for entry in waiting:
                self._line.discard(entry)
        for entry in waiting:
            entry.submission.fail(
                NotReadyError("the server stopped before this text was run")
            )
        self._workers.shutdown(wait=True)

    def _forget(self, submission: Submission) -> None:
        if unanswered := submission.unanswered:
            with self._lock:
                for entry in unanswered:
                    self._line.discard(entry)
        # They name it as well, and a circle would live until the next collection.
        submission.entries = ()

    def _pump(self) -> None:
        self._is_pump_due = False
        groups = []
        with self._lock:
            while self._num_idle and (group := self._take()):
                self._num_idle -= 1
                groups.append(group)
        for group in groups:
            self._workers.submit(self._work, group)

    def _work(self, group: list[Entry]) -> None:
        # On a worker's thread: a run, and whatever waits after it.
        while group:
            loop = group[0].submission.future.get_loop()
            run = self._run_once(group)
            # First of all, so that whoever hears of this run finds the next taken.
            with self._lock:
                group = self._take()
                if not group:
                    self._num_idle += 1
            if run is not None:
                _call_soon(loop, self._deliver, run)

    def _run_once(self, group: list[Entry]) -> _EndedRun | None:
        began = self._clock()
        # Once more: some may have left on the way to this thread.
        with self._lock:
            group = [entry for entry in group if not self._is_over(entry, began)]
            self._running.update(group)
        if not group:
            return None
        self._count(group)
        result: Outputs | Exception
        try:
            result = self._run(
                [entry.row for entry in group], fetches=group[0].shape.fetches
            )
        # Whatever it is, the callers hear of it, and the worker goes on.
        except Exception as error:  # noqa: BLE001
            result = error
        return _EndedRun(group=group, result=result, began=began, ended=self._clock())

    def _take(self) -> list[Entry]:
        # The entries of the next run; the caller holds the lock.
        if not self._line:
            return []
        now = self._clock()
        window = self._line.first(_WINDOW_ENTRIES)
        while over := [entry for entry in window if self._is_over(entry, now)]:
            for entry in over:
                self._line.discard(entry)
            window = self._line.first(_WINDOW_ENTRIES)
        chosen = self._policy.cut([entry.shape for entry in window])
        group = [window[position] for position in chosen]
        for entry in group:
            self._line.discard(entry)
        return group

    def _is_over(self, entry: Entry, now: float) -> bool:
        submission = entry.submission
        if submission.is_over:
            return True
        if now < submission.deadline:
            return False
        _call_soon(submission.future.get_loop(), self._time_out, submission)
        return True

    def _count(self, group: list[Entry]) -> None:
        lengths = [entry.shape.num_tokens for entry in group]
        self._counter.count_run(
            num_texts=len(group),
            num_masked=sum(entry.row.keep is not None for entry in group),
            num_tokens=sum(lengths),
            num_padding=len(lengths) * max(lengths) - sum(lengths),
            release=self._release(group),
        )

    def _deliver(self, run: _EndedRun) -> None:
        group, result, seconds = run.group, run.result, run.ended - run.began
        self._running.difference_update(group)
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

    def _release(self, group: list[Entry]) -> str:
        # Nothing waits for mates: what lets a run go is a worker that is idle, unless
        # the group could hold no more.
        room = self._policy.room(max(entry.shape.num_tokens for entry in group))
        if room == 1:
            return "full"
        return "tokens" if len(group) == room else "idle"

    def _time_out(self, submission: Submission) -> None:
        if submission.is_over:
            return
        # A run that has begun goes on, but its caller need not wait for it. None begins
        # between the look and the word.
        with self._lock:
            running = self._running.intersection(submission.unanswered)
            num_queued = len(submission.unanswered) - len(running)
            seconds = self._clock() - submission.enqueued
            where = "in the queue" if num_queued else "in a run that came too late"
            submission.fail(
                DeadlineError(
                    f"the deadline passed after {seconds:.3f} s {where}; allow more"
                    " time, or send fewer texts at once"
                )
            )
        for stage, number in (("queue", num_queued), ("infer", len(running))):
            for _ in range(number):
                self._counter.expire(stage=stage)


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[[_Argument], None],
    argument: _Argument,
) -> None:
    # From any thread. A loop that was closed has nobody who waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, argument)
