"""A graph that a test decides about, and what a batcher reported."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from diffmask_service.core.values import Outputs
from diffmask_service.engine.feeds import Row
from diffmask_service.errors import InferenceError
from tests.support.clock import ManualClock

LOGITS = ("logits",)
Submit = Callable[..., "asyncio.Future[float]"]


@dataclass
class FakeGraph:
    """Echoes the first id of each text, or fails, or waits for the test."""

    runs: list[list[int]] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)
    gate: threading.Event = field(default_factory=threading.Event)
    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def begin(self) -> None:
        """Return when one more run has begun, and its time was taken."""
        await asyncio.to_thread(self.began.acquire)

    def __call__(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        ids = [int(row.input_ids[0]) for row in rows]
        self.runs.append(ids)
        self.began.release()
        self.gate.wait()
        if self.failing & set(ids):
            raise InferenceError("the graph failed to run")
        logits = np.array(ids, dtype=np.float32).reshape(-1, 1)
        return Outputs(logits=logits)


@dataclass
class Counts:
    """What a batcher reported."""

    expired: int = 0
    expiry_stages: list[str] = field(default_factory=list)
    releases: list[str] = field(default_factory=list)
    paddings: list[int] = field(default_factory=list)
    runs: list[tuple[int, int, int]] = field(default_factory=list)
    health: list[bool] = field(default_factory=list)

    def expire(self, *, stage: str) -> None:
        self.expired += 1
        self.expiry_stages.append(stage)

    def count_run(
        self,
        *,
        num_texts: int,
        num_masked: int,
        num_tokens: int,
        num_padding: int,
        release: str,
    ) -> None:
        self.paddings.append(num_padding)
        self.runs.append((num_texts, num_masked, num_tokens))
        self.releases.append(release)

    def note_health(self, *, is_healthy: bool) -> None:
        self.health.append(is_healthy)


async def turn() -> None:
    """Let the loop start what is ready."""
    for _ in range(3):
        await asyncio.sleep(0)


async def run_slowly(
    submit: Submit,
    graph: FakeGraph,
    clock: ManualClock,
    *,
    times: int,
) -> None:
    """Run texts of 8 tokens, each for 16 seconds of the clock."""
    for _ in range(times):
        graph.gate.clear()
        # Only what begins from now on is of interest.
        while graph.began.acquire(blocking=False):
            pass
        running = submit(9)
        await graph.begin()
        clock.advance(16.0)
        graph.gate.set()
        await running
