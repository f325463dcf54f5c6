"""The queue in front of the graph: cut, run on a worker thread, deliver.

Lives on one event loop; only `run` leaves it. What runs next is `core.batching`'s
choice, how a run works is the session's; here entries wait, expire, are dropped and get
their answers. Nothing polls: a new entry and an ended run are the only events.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from diffmask_service.core.batching import Shape, cut
from diffmask_service.core.values import Outputs
from diffmask_service.engine.session import Row
from diffmask_service.errors import DeadlineError, InferenceError, NotReadyError

# How far back a cut looks for entries that may join the oldest one.
_WINDOW_ENTRIES = 64
# Runs that must fail one after the other before the model counts as unhealthy.
_FAILURES_TO_UNHEALTHY = 3


class Run(Protocol):
    """One run of the graph on texts of equal length; called on a worker thread."""

    def __call__(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        """Return the outputs, in the order of the rows."""
        ...


class HealthListener(Protocol):
    """Told whether runs succeed."""

    def __call__(self, *, is_healthy: bool) -> None:
        """Take note."""
        ...


class RunCounter(Protocol):
    """What a batcher reports to telemetry."""

    def expire(self, *, stage: str) -> None:
        """Count a text whose deadline passed in the queue, or in its run (infer)."""
        ...

    def count_run(
        self, *, num_texts: int, num_masked: int, num_tokens: int, release: str
    ) -> None:
        """Count one run of the graph."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one entry got.

    Attributes:
        outputs: Its outputs, a batch of one.
        queue_seconds: Wait for a free worker, seconds.
        infer_seconds: Its share of the run, seconds.
    """

    outputs: Outputs
    queue_seconds: float
    infer_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One text that waits to be run.

    Attributes:
        row: What the graph reads.
        shape: What decides whom it may share a run with.
        deadline: When its caller gives up, on the batcher's clock.
        enqueued: When it came, on the batcher's clock.
        future: Where its answer goes.
    """

    row: Row
    shape: Shape
    deadline: float
    enqueued: float
    future: asyncio.Future[Ran]


class Batcher:
    """Moves entries from the queue through the graph to their callers.

    Args:
        run: One run of the graph.
        num_workers: Runs at the same time, >= 1.
        max_group_tokens: Most tokens of a run with more than one text; 0 for none.
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
        max_group_tokens: int,
        counter: RunCounter,
        on_health: HealthListener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._max_group_tokens = max_group_tokens
        self._counter = counter
        self._on_health = on_health
        self._clock = clock
        self._num_workers = num_workers
        self._num_idle = num_workers
        self._waiting: deque[Entry] = deque()
        self._num_failures = 0
        self._token_seconds = 1e-4
        self._workers = ThreadPoolExecutor(num_workers, "diffmask-infer")

    def submit(
        self, row: Row, *, fetches: tuple[str, ...], deadline: float
    ) -> asyncio.Future[Ran]:
        """Queue one text and return where its answer will be.

        The future fails with DeadlineError, InferenceError or NotReadyError. Cancelling
        it takes the entry out of the queue.

        Args:
            row: What the graph reads.
            fetches: Names of the outputs to compute.
            deadline: When the caller gives up, on the batcher's clock.
        """
        loop = asyncio.get_running_loop()
        entry = Entry(
            row=row,
            shape=Shape(num_tokens=len(row.input_ids), fetches=fetches),
            deadline=deadline,
            enqueued=self._clock(),
            future=loop.create_future(),
        )
        # The caller hears at its deadline, whatever the workers are busy with.
        timer = loop.call_later(
            max(0.0, deadline - entry.enqueued), self._time_out, entry
        )
        entry.future.add_done_callback(lambda _: timer.cancel())
        self._waiting.append(entry)
        # Not at once: texts submitted in the same turn of the loop may share a run.
        loop.call_soon(self._pump)
        return entry.future

    def estimate_seconds(self, num_tokens: int) -> float:
        """Return about how long the workers take over a number of tokens, seconds."""
        return num_tokens * self._token_seconds / self._num_workers

    def count_waiting(self) -> int:
        """Return how many entries wait; callable from any thread."""
        return len(self._waiting)

    def close(self) -> None:
        """Fail what still waits, let the running end, and free the threads."""
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(
                    NotReadyError("the server stopped before this text was run")
                )
        self._workers.shutdown(wait=True)

    def _pump(self) -> None:
        while self._num_idle:
            group = self._next_group()
            if not group:
                return
            self._start(group)

    def _next_group(self) -> list[Entry]:
        window: list[Entry] = []
        while self._waiting and len(window) < _WINDOW_ENTRIES:
            entry = self._waiting.popleft()
            if self._clock() >= entry.deadline:
                self._expire(entry)
            if not entry.future.done():
                window.append(entry)
        chosen = cut(
            [entry.shape for entry in window], max_group_tokens=self._max_group_tokens
        )
        rest = [entry for i, entry in enumerate(window) if i not in chosen]
        self._waiting.extendleft(reversed(rest))
        return [window[i] for i in chosen]

    def _start(self, group: list[Entry]) -> None:
        self._num_idle -= 1
        started = self._clock()
        self._counter.count_run(
            num_texts=len(group),
            num_masked=sum(entry.row.keep is not None for entry in group),
            num_tokens=sum(entry.shape.num_tokens for entry in group),
            release=self._release(group),
        )
        running = asyncio.get_running_loop().run_in_executor(
            self._workers,
            functools.partial(
                self._run,
                [entry.row for entry in group],
                fetches=group[0].shape.fetches,
            ),
        )
        running.add_done_callback(functools.partial(self._deliver, group, started))

    def _deliver(
        self, group: list[Entry], started: float, running: asyncio.Future[Outputs]
    ) -> None:
        self._num_idle += 1
        seconds = self._clock() - started
        error = running.exception()
        self._record(group, seconds, is_failed=error is not None)
        for place, entry in enumerate(group):
            if entry.future.done():
                continue
            if error is not None:
                entry.future.set_exception(_failure(error))
                continue
            entry.future.set_result(
                Ran(
                    outputs=_take(running.result(), place),
                    queue_seconds=started - entry.enqueued,
                    infer_seconds=seconds / len(group),
                )
            )
        self._pump()

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
        self._token_seconds += 0.1 * (seconds / num_tokens - self._token_seconds)

    def _release(self, group: list[Entry]) -> str:
        # Nothing waits for mates: what lets a run go is a worker that is idle, unless
        # the group could hold no more.
        room = self._max_group_tokens // group[0].shape.num_tokens
        if room <= 1:
            return "full"
        return "tokens" if len(group) == room else "idle"

    def _time_out(self, entry: Entry) -> None:
        # A run that has begun goes on, but its caller need not wait for it.
        self._expire(entry, stage="queue" if entry in self._waiting else "infer")

    def _expire(self, entry: Entry, *, stage: str = "queue") -> None:
        if entry.future.done():
            return
        self._counter.expire(stage=stage)
        waited = self._clock() - entry.enqueued
        entry.future.set_exception(
            DeadlineError(
                f"the deadline passed after {waited:.3f} s in the queue; allow more"
                " time, or send fewer texts at once"
            )
        )


def _failure(cause: BaseException) -> InferenceError:
    # Each caller gets an instance of its own: a traceback grows as it travels.
    error = InferenceError("the model failed on this request")
    error.__cause__ = cause
    return error


def _take(outputs: Outputs, place: int) -> Outputs:
    here = slice(place, place + 1)
    return Outputs(
        logits=outputs.logits[here],
        input_gates=None if outputs.input_gates is None else outputs.input_gates[here],
        hidden_gates=(
            None if outputs.hidden_gates is None else outputs.hidden_gates[here]
        ),
    )
