"""The queue in front of the graph: cut, run on a worker thread, deliver.

Lives on one event loop; only `run` leaves it. Who comes first is the line's order, what
shares a run is the policy's choice, how a run works is the session's; here entries
wait, expire, are dropped and get their answers. Nothing polls: a new entry and an ended
run are the only events.
"""

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from diffmask_service.core.batching import BatchPolicy, Shape
from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.line import Entry, Line, Ran
from diffmask_service.engine.pace import Pace
from diffmask_service.errors import DeadlineError, InferenceError, NotReadyError

# How far back a cut looks for entries that may join the oldest one.
_WINDOW_ENTRIES = 64
# Runs that must fail one after the other before the model counts as unhealthy.
_FAILURES_TO_UNHEALTHY = 3


class Run(Protocol):
    """One run of the graph on the texts of a batch; called on a worker thread."""

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
        self,
        *,
        num_texts: int,
        num_masked: int,
        num_tokens: int,
        num_padding: int,
        release: str,
    ) -> None:
        """Count one run of the graph."""
        ...


class Batcher:
    """Moves entries from the queue through the graph to their callers.

    Args:
        run: One run of the graph.
        num_workers: Runs at the same time, >= 1.
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
        self._line = Line()
        self._numbers = itertools.count()
        self._is_pump_due = False
        self._pace = Pace()
        self._num_failures = 0
        self._workers = ThreadPoolExecutor(num_workers, "diffmask-infer")

    def submit(
        self,
        row: Row,
        *,
        fetches: tuple[str, ...],
        deadline: float,
        arrived: float,
        priority: int = 1,
    ) -> asyncio.Future[Ran]:
        """Queue one text and return where its answer will be.

        The future fails with DeadlineError, InferenceError or NotReadyError. Cancelling
        it takes the entry out of the queue.

        Args:
            row: What the graph reads.
            fetches: Names of the outputs to compute.
            deadline: When the caller gives up, on the batcher's clock.
            arrived: When its request came, on the batcher's clock; a later run of the
                same request keeps the place of the first.
            priority: Its level, 1 for the highest.
        """
        loop = asyncio.get_running_loop()
        rank_seconds = arrived + (priority - 1) * self._priority_step_seconds
        entry = Entry(
            row=row,
            shape=Shape(num_tokens=len(row.input_ids), fetches=fetches),
            priority=priority,
            place=(rank_seconds, next(self._numbers)),
            deadline=deadline,
            enqueued=self._clock(),
            future=loop.create_future(),
        )
        # The caller hears at its deadline, whatever the workers are busy with.
        timer = loop.call_later(
            max(0.0, deadline - entry.enqueued), self._time_out, entry
        )
        entry.future.add_done_callback(functools.partial(self._forget, entry, timer))
        self._line.add(entry)
        # Not at once: texts submitted in the same turn of the loop may share a run.
        if not self._is_pump_due:
            self._is_pump_due = True
            loop.call_soon(self._pump)
        return entry.future

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
        waiting = self._line.count_tokens(priority=priority)
        return self.estimate_seconds(waiting + num_tokens)

    def count_waiting(self) -> int:
        """Return how many entries wait; callable from any thread."""
        return len(self._line)

    def close(self) -> None:
        """Fail what still waits, let the running end, and free the threads."""
        for entry in self._line.first(len(self._line)):
            self._line.discard(entry)
            if not entry.future.done():
                entry.future.set_exception(
                    NotReadyError("the server stopped before this text was run")
                )
        self._workers.shutdown(wait=True)

    def _forget(
        self, entry: Entry, timer: asyncio.TimerHandle, _: asyncio.Future[Ran]
    ) -> None:
        timer.cancel()
        self._line.discard(entry)

    def _pump(self) -> None:
        self._is_pump_due = False
        while self._num_idle:
            group = self._next_group()
            if not group:
                return
            self._start(group)

    def _next_group(self) -> list[Entry]:
        window = self._line.first(_WINDOW_ENTRIES)
        while over := [entry for entry in window if self._is_over(entry)]:
            for entry in over:
                self._line.discard(entry)
            window = self._line.first(_WINDOW_ENTRIES)
        chosen = self._policy.cut([entry.shape for entry in window])
        group = [window[position] for position in chosen]
        for entry in group:
            self._line.discard(entry)
        return group

    def _is_over(self, entry: Entry) -> bool:
        if self._clock() >= entry.deadline:
            self._expire(entry)
        return entry.future.done()

    def _start(self, group: list[Entry]) -> None:
        self._num_idle -= 1
        started = self._clock()
        lengths = [entry.shape.num_tokens for entry in group]
        self._counter.count_run(
            num_texts=len(group),
            num_masked=sum(entry.row.keep is not None for entry in group),
            num_tokens=sum(lengths),
            num_padding=len(lengths) * max(lengths) - sum(lengths),
            release=self._release(group),
        )
        running = self._workers.submit(
            self._run,
            [entry.row for entry in group],
            fetches=group[0].shape.fetches,
        )
        loop = asyncio.get_running_loop()

        # Straight to the loop: `run_in_executor` would add a future and a turn of the
        # loop between each run and its delivery.
        def deliver(running: Future[Outputs]) -> None:
            loop.call_soon_threadsafe(self._deliver, group, started, running)

        running.add_done_callback(deliver)

    def _deliver(
        self, group: list[Entry], started: float, running: Future[Outputs]
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
                    outputs=_take(
                        running.result(), place, num_tokens=entry.shape.num_tokens
                    ),
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
        self._pace.note(num_tokens=num_tokens, seconds=seconds)

    def _release(self, group: list[Entry]) -> str:
        # Nothing waits for mates: what lets a run go is a worker that is idle, unless
        # the group could hold no more.
        room = self._policy.room(max(entry.shape.num_tokens for entry in group))
        if room == 1:
            return "full"
        return "tokens" if len(group) == room else "idle"

    def _time_out(self, entry: Entry) -> None:
        # A run that has begun goes on, but its caller need not wait for it.
        self._expire(entry, stage="queue" if entry in self._line else "infer")

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


def _take(outputs: Outputs, place: int, *, num_tokens: int) -> Outputs:
    # A batch of one, without the padding that others of the run brought.
    here = slice(place, place + 1)

    def gates(values: Float32Array | None) -> Float32Array | None:
        return None if values is None else values[here, :, :num_tokens]

    logits = outputs.logits[here]
    return Outputs(
        logits=logits[:, :num_tokens] if logits.ndim > 2 else logits,
        input_gates=gates(outputs.input_gates),
        hidden_gates=gates(outputs.hidden_gates),
    )
