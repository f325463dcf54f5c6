"""The threads that run the graph, and the line from which they take their runs.

A worker that has ended a run takes the next from the line itself, so that the graph
never waits for the event loop. What the two share is here, under one lock: who waits,
whose run has begun, and how many workers are idle. Who comes first is the line's order,
what shares a run is the policy's choice, how a run works is the session's. Nothing
polls: new entries and an ended run are the only events.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from diffmask_service.core.batching import BatchPolicy
from diffmask_service.core.values import Outputs
from diffmask_service.engine.line import Line
from diffmask_service.engine.niceness import lower_priority
from diffmask_service.engine.runs import Run, RunCounter
from diffmask_service.engine.submission import Entry, Submission
from diffmask_service.errors import DeadlineError

# How far back a cut looks for entries that may join the oldest one.
_WINDOW_ENTRIES = 64
_Argument = TypeVar("_Argument")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run of the graph that has ended.

    Attributes:
        group: Whose run it was.
        result: What came of it; the error of a run that failed.
        began: When it began, on the workers' clock.
        ended: When it ended, likewise.
    """

    group: list[Entry]
    result: Outputs | Exception
    began: float
    ended: float


class Workers:
    """Runs entries; used on one event loop, unless said otherwise.

    Args:
        run: One run of the graph.
        num_workers: Runs at the same time, >= 1.
        niceness: How many nice levels less urgent the threads are than the event loop,
            >= 0.
        policy: Which entries share a run.
        counter: Told of every run and every expired entry.
        on_ended: Told on the loop of every run that has ended.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self,
        run: Run,
        *,
        num_workers: int,
        niceness: int,
        policy: BatchPolicy,
        counter: RunCounter,
        on_ended: Callable[[EndedRun], None],
        clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._policy = policy
        self._counter = counter
        self._on_ended = on_ended
        self._clock = clock
        # Over the line, what runs and who is idle, which the threads change as well.
        self._lock = threading.Lock()
        self._line = Line()
        self._running: set[Entry] = set()
        self._num_idle = num_workers
        self._is_pump_due = False
        self._threads = ThreadPoolExecutor(
            num_workers,
            "diffmask-infer",
            initializer=lower_priority,
            initargs=(niceness,),
        )

    def __len__(self) -> int:
        """Return how many entries wait; callable from any thread."""
        return len(self._line)

    @property
    def is_any_idle(self) -> bool:
        """Whether some worker has nothing to run."""
        return self._num_idle > 0

    def count_tokens(self, *, priority: int) -> int:
        """Return the tokens that wait at a level and at those above it."""
        with self._lock:
            return self._line.count_tokens(priority=priority)

    def put(self, entries: Iterable[Entry]) -> None:
        """Have entries run when their turn comes."""
        with self._lock:
            for entry in entries:
                self._line.add(entry)
            is_worker_idle = self._num_idle > 0
        # Not at once: requests of the same turn of the loop may share a run. Workers
        # that are busy come to the line by themselves.
        if is_worker_idle and not self._is_pump_due:
            self._is_pump_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """Take entries out of the line; a run that has begun goes on."""
        with self._lock:
            for entry in entries:
                self._line.discard(entry)

    def withdraw_all(self) -> list[Entry]:
        """Take all that wait out of the line, and return them."""
        with self._lock:
            waiting = self._line.first(len(self._line))
            for entry in waiting:
                self._line.discard(entry)
        return waiting

    def time_out(self, submission: Submission) -> None:
        """Tell a caller whose deadline has passed, and count its texts as expired."""
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

    async def join(self) -> None:
        """Wait for the runs that go on, and free the threads; nothing runs any more."""
        # The pool alone is named in the other thread, so that whoever drops the workers
        # then has let go of all of them.
        await asyncio.to_thread(self._threads.shutdown)

    def close(self) -> None:
        """Let the running end, and free the threads."""
        self._threads.shutdown(wait=True)

    def _pump(self) -> None:
        self._is_pump_due = False
        groups = []
        with self._lock:
            while self._num_idle and (group := self._take()):
                self._num_idle -= 1
                groups.append(group)
        for group in groups:
            self._threads.submit(self._work, group)

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
                _call_soon(loop, self._end, run)

    def _run_once(self, group: list[Entry]) -> EndedRun | None:
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
        return EndedRun(group=group, result=result, began=began, ended=self._clock())

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
        _call_soon(submission.future.get_loop(), self.time_out, submission)
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

    def _release(self, group: list[Entry]) -> str:
        # Nothing waits for mates: what lets a run go is a worker that is idle, unless
        # the group could hold no more.
        room = self._policy.room(max(entry.shape.num_tokens for entry in group))
        if room == 1:
            return "full"
        return "tokens" if len(group) == room else "idle"

    def _end(self, run: EndedRun) -> None:
        self._running.difference_update(run.group)
        self._on_ended(run)


def _call_soon(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[[_Argument], None],
    argument: _Argument,
) -> None:
    # From any thread. A loop that was closed has nobody who waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, argument)
