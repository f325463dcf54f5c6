"""The engine when time, room or the caller runs out."""

import asyncio
from pathlib import Path

import pytest

from diffmask_service.app import open_engine
from diffmask_service.core.values import TextInput
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.errors import DeadlineError, NotReadyError, OverloadedError
from diffmask_service.telemetry import Telemetry
from tests.support.engine import BOTH, TEXT, counted, explain_one
from tests.support.replies import labelled


async def test_a_passed_deadline_fails_without_a_run(
    engine: Engine, telemetry: Telemetry
) -> None:
    with pytest.raises(DeadlineError):
        await engine.explain([TextInput(text=TEXT)], BOTH, deadline=0.0)
    assert counted(telemetry, "diffmask_expired_texts_total", stage="queue") == 1
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
