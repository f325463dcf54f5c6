import asyncio

import pytest

from diffmask_service.engine.lifecycle import Lifecycle
from diffmask_service.errors import NotReadyError


def test_listeners_hear_now_and_at_each_change() -> None:
    told: list[bool] = []
    lifecycle = Lifecycle()
    lifecycle.subscribe(told.append)
    lifecycle.set_healthy(is_healthy=False)
    lifecycle.set_healthy(is_healthy=True)
    lifecycle.close()
    assert told == [True, False, True, False]


def test_an_unhealthy_model_still_takes_requests() -> None:
    lifecycle = Lifecycle()
    lifecycle.set_healthy(is_healthy=False)
    lifecycle.enter()
    assert not lifecycle.is_ready


async def test_an_idle_engine_is_drained_at_once() -> None:
    lifecycle = Lifecycle()
    assert await lifecycle.drain(0.0)
    with pytest.raises(NotReadyError):
        lifecycle.enter()


async def test_every_drain_waits_for_the_last_request() -> None:
    lifecycle = Lifecycle()
    lifecycle.enter()
    lifecycle.enter()
    drains = [asyncio.ensure_future(lifecycle.drain(600.0)) for _ in range(2)]
    await asyncio.sleep(0)
    lifecycle.leave()
    assert not drains[0].done()
    lifecycle.leave()
    assert await asyncio.gather(*drains) == [True, True]


async def test_a_drain_that_gave_up_does_not_mind_the_end() -> None:
    lifecycle = Lifecycle()
    lifecycle.enter()
    assert not await lifecycle.drain(0.0)
    lifecycle.leave()
    assert await lifecycle.drain(0.0)
