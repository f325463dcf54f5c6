"""A batcher of one worker over a graph that waits for the test."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from diffmask_service.core.batching import UnpaddedBatches
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.feeds import Row
from tests.support.batching import LOGITS, Counts, FakeGraph, Submit
from tests.support.clock import ManualClock


@pytest.fixture
def graph() -> FakeGraph:
    return FakeGraph()


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def batcher(graph: FakeGraph, counts: Counts, clock: ManualClock) -> Iterator[Batcher]:
    made = Batcher(
        graph,
        num_workers=1,
        policy=UnpaddedBatches(max_group_tokens=16),
        priority_step_seconds=10.0,
        counter=counts,
        on_health=counts.note_health,
        clock=clock,
    )
    yield made
    graph.gate.set()
    made.close()


@pytest.fixture
def submit(batcher: Batcher, clock: ManualClock) -> Submit:
    async def answer(
        identity: int, num_tokens: int, deadline: float, priority: int, arrived: float
    ) -> float:
        row = Row(
            input_ids=np.full(num_tokens, identity, dtype=np.int64),
            token_type_ids=np.zeros(num_tokens, dtype=np.int64),
        )
        (ran,) = await batcher.submit(
            [row], fetches=LOGITS, deadline=deadline, arrived=arrived, priority=priority
        )
        return float(ran.outputs.logits[0, 0])

    def submitted(
        identity: int,
        *,
        num_tokens: int = 8,
        seconds: float = 600.0,
        priority: int = 1,
        came: float = 0.0,
    ) -> "asyncio.Future[float]":
        deadline, arrived = clock.now + seconds, clock.now - came
        return asyncio.ensure_future(
            answer(identity, num_tokens, deadline, priority, arrived)
        )

    return submitted
