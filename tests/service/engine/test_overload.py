"""Three times as many requests as the graph can run, on a clock that the test moves."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from diffmask_service.core.batching import UnpaddedBatches
from diffmask_service.core.values import ModelIdentity, Outputs
from diffmask_service.engine.batcher import Batcher
from diffmask_service.engine.door import Door
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.limits import EngineLimits
from diffmask_service.errors import DeadlineError
from diffmask_service.telemetry import Telemetry
from tests.support.clock import ManualClock

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")
# Not a whole number of runs, so that a run may end too late.
TIMEOUT_SECONDS = 10.5
NUM_TOKENS = 8
ROW = Row(
    input_ids=np.ones(NUM_TOKENS, dtype=np.int64),
    token_type_ids=np.zeros(NUM_TOKENS, dtype=np.int64),
)


class Server:
    """A door and a graph whose runs take a second of the clock each."""

    def __init__(self, *, late_factor: float) -> None:
        self.in_time = self.too_late = self.refused = 0
        self._clock = ManualClock()
        self._began, self._may_end = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = asyncio.Event()
        telemetry = Telemetry().for_model(IDENTITY, states=("a",), threshold=0.5)
        self._batcher = Batcher(
            self._run,
            num_workers=1,
            policy=UnpaddedBatches(max_group_tokens=0),
            priority_step_seconds=1.0,
            counter=telemetry,
            on_health=lambda *, is_healthy: None,
            clock=self._clock,
        )
        self._door = Door(
            EngineLimits(late_factor=late_factor),
            foretell_seconds=self._batcher.foretell_seconds,
            counter=telemetry,
            clock=self._clock,
        )

    async def bear(self, *, per_second: int, num_seconds: int) -> None:
        """Take so many requests a second, evenly."""
        requests: list[asyncio.Task[None]] = []
        for _ in range(num_seconds):
            requests += [
                asyncio.create_task(self._request()) for _ in range(per_second)
            ]
            # Until all of them stand in the line, and a run has begun.
            for _ in range(3):
                await asyncio.sleep(0)
            await asyncio.to_thread(self._began.acquire)
            self._clock.advance(1.0)
            self._ended.clear()
            self._may_end.release()
            await self._ended.wait()
        for task in requests:
            task.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        self._may_end.release()
        self._batcher.close()

    def _run(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        del fetches
        self._began.release()
        self._may_end.acquire()
        return Outputs(logits=np.zeros((len(rows), 2), dtype=np.float32))

    async def _request(self) -> None:
        deadline = self._clock.now + TIMEOUT_SECONDS
        turn = self._door.turn(deadline=deadline, priority=0)
        try:
            self._door.admit(turn, num_texts=1)
            self._door.take_up(turn, num_texts=1, num_tokens=NUM_TOKENS)
        except DeadlineError:
            self.refused += 1
            return
        try:
            await self._batcher.submit(
                [ROW], fetches=("logits",), deadline=deadline, arrived=turn.arrived
            )
        except DeadlineError:
            self.too_late += 1
            return
        is_late = self._clock.now > deadline
        self.too_late += is_late
        self.in_time += not is_late
        self._ended.set()


@pytest.mark.parametrize("late_factor", [EngineLimits().late_factor, 0.3])
async def test_whoever_is_let_in_is_answered_in_time_and_no_run_is_lost(
    late_factor: float,
) -> None:
    server = Server(late_factor=late_factor)
    await server.bear(per_second=3, num_seconds=60)
    assert server.in_time == 60
    assert server.too_late == 0
    assert server.refused > 60


async def test_a_door_that_refuses_nobody_spends_runs_on_late_answers() -> None:
    server = Server(late_factor=0.0)
    await server.bear(per_second=3, num_seconds=60)
    assert server.in_time < 30
    assert server.too_late > 60


async def test_nobody_is_refused_while_the_graph_keeps_up() -> None:
    server = Server(late_factor=0.75)
    await server.bear(per_second=1, num_seconds=30)
    assert (server.in_time, server.too_late, server.refused) == (30, 0, 0)
