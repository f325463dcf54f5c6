"""The order of the line; its rule keeps every level from starving."""

import asyncio
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.batching import Shape
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.line import Line
from diffmask_service.engine.submission import Entry, Submission

STEP_SECONDS = 10.0
_numbers = itertools.count()


@pytest.fixture(scope="module")
def loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.close()
    return loop


def entry(
    loop: asyncio.AbstractEventLoop, *, priority: int, arrived: float, tokens: int = 4
) -> Entry:
    ids = np.zeros(tokens, dtype=np.int64)
    return Entry(
        row=Row(input_ids=ids, token_type_ids=ids),
        shape=Shape(num_tokens=tokens, fetches=("logits",)),
        priority=priority,
        place=(arrived + (priority - 1) * STEP_SECONDS, next(_numbers)),
        submission=Submission(
            deadline=arrived + 1000.0,
            enqueued=arrived,
            future=asyncio.Future(loop=loop),
        ),
    )


def test_within_a_level_the_order_is_that_of_arrival(
    loop: asyncio.AbstractEventLoop,
) -> None:
    line = Line()
    entries = [entry(loop, priority=1, arrived=5.0) for _ in range(3)]
    for each in entries:
        line.add(each)
    assert line.first(2) == entries[:2]


def test_an_endless_urgent_stream_delays_the_lowest_level_by_its_head_start_alone(
    loop: asyncio.AbstractEventLoop,
) -> None:
    # One text is run a second; two urgent ones come in that time, so that the urgent
    # level alone is more than can ever be done.
    line = Line()
    patient = entry(loop, priority=3, arrived=0.0)
    line.add(patient)
    ran_at = 0
    for second in range(1000):
        for _ in range(2):
            line.add(entry(loop, priority=1, arrived=float(second)))
        (first,) = line.first(1)
        line.discard(first)
        if first is patient:
            ran_at = second
            break
    # It waits for the urgent texts of its first 20 seconds, 40 of them and no more.
    assert ran_at == pytest.approx(2 * 2 * STEP_SECONDS, abs=2)


def test_tokens_are_counted_by_level(loop: asyncio.AbstractEventLoop) -> None:
    line = Line()
    urgent = entry(loop, priority=1, arrived=0.0, tokens=5)
    usual = entry(loop, priority=2, arrived=0.0, tokens=7)
    line.add(urgent)
    line.add(usual)
    assert [line.count_tokens(priority=level) for level in (1, 2, 3)] == [5, 12, 12]
    line.discard(urgent)
    line.discard(urgent)
    assert [line.count_tokens(priority=level) for level in (1, 2)] == [0, 7]
    assert len(line) == 1


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 100)), max_size=30),
    st.data(),
)
def test_whoever_comes_first_has_the_least_place(
    given_entries: list[tuple[int, int]], data: st.DataObject
) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    line = Line()
    kept = []
    for priority, arrived in given_entries:
        each = entry(loop, priority=priority, arrived=float(arrived))
        line.add(each)
        kept.append(each)
    for each in data.draw(st.lists(st.sampled_from(kept))) if kept else []:
        line.discard(each)
        kept = [other for other in kept if other is not each]
    assert line.first(len(kept) + 1) == sorted(kept, key=lambda each: each.place)
    assert line.count_tokens(priority=3) == 4 * len(kept)
