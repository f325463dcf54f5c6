"""The engine when time, room or the caller runs out."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from diffmask_service.app import open_engine
from diffmask_service.bundle import Bundle
from diffmask_service.core.values import ExplainOptions, Outputs, TextInput
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.session import Session
from diffmask_service.errors import (
    DeadlineError,
    InvalidInput,
    NotReadyError,
    OverloadedError,
)
from diffmask_service.telemetry import Telemetry
from tests.support.clock import ManualClock
from tests.support.engine import BOTH, TEXT, counted, explain_one
from tests.support.replies import labelled


async def test_a_passed_deadline_fails_without_a_run(
    engine: Engine, telemetry: Telemetry
) -> None:
    with pytest.raises(DeadlineError):
        await engine.explain([TextInput(text=TEXT)], BOTH, deadline=0.0)
    assert counted(telemetry, "diffmask_expired_texts_total") == 1
    passes = "diffmask_forward_passes_total"
    assert counted(telemetry, passes, purpose="explain") == 0


async def test_a_full_queue_refuses_with_a_hint(tiny_directory: Path) -> None:
    telemetry = Telemetry()
    limits = EngineLimits(queue_tokens=10)
    engine = open_engine(tiny_directory, limits=limits, telemetry=telemetry)
    first = asyncio.ensure_future(explain_one(engine))
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError, match="queue is full") as raised:
        await explain_one(engine)
    assert raised.value.retry_after_seconds > 0
    assert labelled((await first).prediction).label == "positive"
    reason = "diffmask_rejected_requests_total"
    assert counted(telemetry, reason, reason="queue_full") == 1
    assert counted(telemetry, "diffmask_queue_tokens") == 0
    engine.close()


async def test_a_request_over_the_whole_queue_is_answered_when_idle(
    tiny_directory: Path,
) -> None:
    engine = open_engine(tiny_directory, limits=EngineLimits(queue_tokens=1))
    assert labelled((await explain_one(engine)).prediction).label == "positive"
    engine.close()


async def test_drain_answers_what_was_taken_and_refuses_the_rest(
    engine: Engine,
) -> None:
    first = asyncio.ensure_future(explain_one(engine))
    await asyncio.sleep(0)
    drained = asyncio.ensure_future(engine.drain(60.0))
    await asyncio.sleep(0)
    with pytest.raises(NotReadyError, match="stopping"):
        await explain_one(engine)
    assert await drained
    assert labelled((await first).prediction).label == "positive"


async def test_drain_gives_up_in_time(engine: Engine) -> None:
    first = asyncio.ensure_future(explain_one(engine))
    await asyncio.sleep(0)
    assert not await engine.drain(0.0)
    await first


async def test_readiness_is_told_at_once_and_at_the_drain(engine: Engine) -> None:
    told: list[bool] = []
    engine.on_readiness(told.append)
    assert engine.description.is_ready
    await engine.drain(0.0)
    assert told == [True, False]
    assert not engine.description.is_ready


async def test_a_cancelled_request_leaves_nothing_behind(
    engine: Engine, telemetry: Telemetry
) -> None:
    task = asyncio.ensure_future(explain_one(engine))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counted(telemetry, "diffmask_queue_tokens") == 0
    assert counted(telemetry, "diffmask_inflight_requests") == 0
    outcome = "diffmask_requests_total"
    assert counted(telemetry, outcome, outcome="cancelled") == 1


PASSES = "diffmask_forward_passes_total"


class SlowSession(Session):
    """The tiny model's, each run as long as the test says, on the test's clock."""

    def __init__(self, inner: Session, clock: ManualClock) -> None:
        self.device = inner.device
        self.gate = threading.Event()
        self.began = threading.Event()
        self.run_seconds = 0.0
        self._inner = inner
        self._clock = clock

    def run(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        self.began.set()
        self.gate.wait()
        self._clock.advance(self.run_seconds)
        return self._inner.run(rows, fetches=fetches)


@dataclass
class Held:
    """An engine whose runs wait for the test."""

    engine: Engine
    session: SlowSession
    clock: ManualClock
    telemetry: Telemetry

    def passes(self) -> tuple[float, float]:
        """Return the forward passes that explained and those that verified."""
        explained, verified = (
            counted(self.telemetry, PASSES, purpose=purpose)
            for purpose in ("explain", "verify")
        )
        return explained, verified

    def explain(
        self, seconds: float = 100.0, *, text: str = TEXT, verify: bool = False
    ) -> "asyncio.Task[object]":
        options = ExplainOptions(verify=verify)
        deadline = self.clock.now + seconds
        call = self.engine.explain([TextInput(text=text)], options, deadline=deadline)
        return asyncio.ensure_future(call)

    async def begin(self) -> None:
        """Return when a run has begun."""
        await asyncio.to_thread(self.session.began.wait)
        self.session.began.clear()


@pytest.fixture
def held(tiny_bundle: Bundle) -> Iterator[Held]:
    clock, telemetry = ManualClock(), Telemetry()
    loaded: Loaded = load(tiny_bundle, precision=None)
    session = SlowSession(loaded.session, clock)
    engine = Engine(
        replace(loaded, session=session),
        limits=EngineLimits(),
        telemetry=telemetry.for_model(
            loaded.description.identity,
            states=loaded.description.states,
            threshold=0.5,
        ),
        clock=clock,
    )
    yield Held(engine=engine, session=session, clock=clock, telemetry=telemetry)
    session.gate.set()
    engine.close()


async def gone(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def settle() -> None:
    """Let tokenizing end and the loop start what is ready."""
    for _ in range(20):
        await asyncio.sleep(0.001)


async def test_a_caller_who_left_before_tokenizing_costs_no_pass(held: Held) -> None:
    task = held.explain()
    await asyncio.sleep(0)
    await gone(task)
    held.session.gate.set()
    await settle()
    assert held.passes() == (0, 0)


async def test_a_caller_who_left_in_the_queue_costs_no_pass(held: Held) -> None:
    first = held.explain()
    await held.begin()
    second = held.explain(verify=True)
    await settle()
    await gone(second)
    held.session.gate.set()
    await first
    await settle()
    assert held.passes() == (1, 0)


async def test_a_caller_who_left_before_the_verifying_run_costs_no_further_pass(
    held: Held,
) -> None:
    task = held.explain(verify=True)
    await held.begin()
    await gone(task)
    held.session.gate.set()
    await settle()
    assert held.passes() == (1, 0)
    assert counted(held.telemetry, "diffmask_queue_tokens") == 0


async def test_time_up_between_a_run_and_its_verification_stops_there(
    held: Held,
) -> None:
    held.session.run_seconds = 50.0
    held.session.gate.set()
    with pytest.raises(DeadlineError):
        await held.explain(40.0, verify=True)
    assert held.passes() == (1, 0)


async def warm_up(held: Held) -> None:
    # Four runs of six tokens, 6 seconds each: one second a token.
    held.session.run_seconds = 6.0
    held.session.gate.set()
    for _ in range(4):
        await held.explain()
        held.session.began.clear()
    held.session.gate.clear()


async def test_work_that_would_come_too_late_is_refused_at_the_door(
    held: Held,
) -> None:
    await warm_up(held)
    running = held.explain()
    await held.begin()
    waiting = [held.explain(text="a " * 10) for _ in range(2)]
    await settle()
    with pytest.raises(DeadlineError, match=r"about 24\.0 s.*leaves 10\.0 s") as raised:
        await held.explain(10.0)
    assert raised.value.retry_after_seconds == 5.0
    reason = "diffmask_rejected_requests_total"
    assert counted(held.telemetry, reason, reason="late") == 1
    held.session.gate.set()
    await asyncio.gather(running, *waiting)


async def test_nobody_is_refused_while_no_one_waits(held: Held) -> None:
    held.session.run_seconds = 1e6
    held.session.gate.set()
    for _ in range(4):
        await held.explain(10.0)
    held.session.run_seconds = 0.0
    # The pace learnt is beyond any deadline, and yet the idle engine takes the text.
    await held.explain(10.0)


async def test_a_pace_learnt_wrong_is_mended_by_the_work_that_goes_on(
    held: Held,
) -> None:
    held.session.run_seconds = 1e6
    held.session.gate.set()
    for _ in range(32):
        await held.explain(10.0)
    held.session.run_seconds = 0.001
    for _ in range(17):
        await held.explain(10.0)
    held.session.gate.clear()
    held.session.began.clear()
    running = held.explain()
    await held.begin()
    waiting = held.explain(text="a " * 10)
    await settle()
    late = held.explain(10.0)
    await settle()
    held.session.gate.set()
    await asyncio.gather(running, waiting, late)


async def test_the_more_urgent_request_runs_first(held: Held) -> None:
    running = held.explain()
    await held.begin()
    order: list[int] = []

    async def ask(priority: int, text: str) -> None:
        await held.engine.explain([TextInput(text=text)], BOTH, priority=priority)
        order.append(priority)

    usual = [asyncio.ensure_future(ask(level, "a " * level)) for level in (3, 2)]
    await settle()
    urgent = asyncio.ensure_future(ask(1, "a"))
    await settle()
    held.session.gate.set()
    await asyncio.gather(running, *usual, urgent)
    assert order == [1, 2, 3]


async def test_a_level_that_is_not_there_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="priority is 4"):
        await engine.explain([TextInput(text=TEXT)], BOTH, priority=4)


async def test_a_caller_without_a_deadline_brings_one_beyond_any_life(
    engine: Engine,
) -> None:
    reply = await engine.explain([TextInput(text=TEXT)], BOTH, deadline=9.2e18)
    assert reply.explanations
