"""The window of a stream, without gRPC."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from diffmask_service.transport.grpc.streams import answer_in_order


class Bench:
    """Requests 0, 1, 2...; each is answered when the test says so."""

    def __init__(self, num_requests: int, *, stays_open: bool = False) -> None:
        self.num_read = 0
        self.answered: list[int] = []
        self.cancelled: list[int] = []
        self.written: list[int] = []
        self.stopping = asyncio.Event()
        self.gates = [asyncio.Event() for _ in range(num_requests)]
        self._stays_open = stays_open

    async def requests(self) -> AsyncIterator[int]:
        for number in range(len(self.gates)):
            self.num_read += 1
            yield number
        if self._stays_open:
            await asyncio.Event().wait()

    async def answer(self, number: int) -> int:
        try:
            await self.gates[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        self.answered.append(number)
        return number

    async def write(self, number: int) -> None:
        self.written.append(number)

    def run(self, *, window: int) -> asyncio.Task[bool]:
        return asyncio.create_task(
            answer_in_order(
                self.requests(),
                answer=self.answer,
                write=self.write,
                window=window,
                stopping=self.stopping,
            )
        )

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self.gates[number].set()


async def settled() -> None:
    # Every task that can go on has gone on.
    for _ in range(50):
        await asyncio.sleep(0)


async def test_answers_keep_the_order_of_the_requests() -> None:
    bench = Bench(3)
    running = bench.run(window=3)
    bench.open(2)
    await settled()
    bench.open(1)
    await settled()
    assert bench.written == []
    bench.open(0)
    assert await running is True
    assert bench.answered == [2, 1, 0]
    assert bench.written == [0, 1, 2]


async def test_no_more_than_the_window_is_read() -> None:
    bench = Bench(6)
    running = bench.run(window=2)
    await settled()
    assert bench.num_read == 2
    # The second is done, but unsent as long as the first is not.
    bench.open(1)
    await settled()
    assert bench.num_read == 2
    bench.open(0)
    await settled()
    assert bench.num_read == 4
    bench.open(2, 3, 4, 5)
    assert await running is True


async def test_a_caller_that_leaves_takes_its_work_along() -> None:
    bench = Bench(5)
    running = bench.run(window=3)
    bench.open(1)
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(bench.cancelled) == [0, 2]
    assert bench.written == []


@pytest.mark.parametrize("window", [2, 8])
async def test_a_stop_answers_what_was_taken_and_reads_no_more(window: int) -> None:
    bench = Bench(4, stays_open=True)
    running = bench.run(window=window)
    await settled()
    taken = min(window, 4)
    assert bench.num_read == taken
    bench.stopping.set()
    await settled()
    assert not running.done()
    bench.open(0, 1, 2, 3)
    assert await running is False
    assert bench.written == list(range(taken))


async def test_a_stop_ends_a_silent_stream_and_one_that_comes_late() -> None:
    silent = Bench(0, stays_open=True)
    running = silent.run(window=2)
    await settled()
    silent.stopping.set()
    assert await running is False
    late = Bench(1)
    late.stopping.set()
    assert await late.run(window=2) is False
    assert late.num_read == 0


async def test_a_reader_that_fails_ends_the_stream_with_its_error() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise OSError("gone")

    bench = Bench(1)
    bench.open(0)
    with pytest.raises(OSError, match="gone"):
        await answer_in_order(
            broken(),
            answer=bench.answer,
            write=bench.write,
            window=2,
            stopping=bench.stopping,
        )
    assert bench.written == [0]


async def test_a_writer_that_fails_cancels_the_rest() -> None:
    async def write(number: int) -> None:
        await settled()
        raise OSError("gone")

    bench = Bench(3)
    bench.open(0)
    with pytest.raises(OSError, match="gone"):
        await answer_in_order(
            bench.requests(),
            answer=bench.answer,
            write=write,
            window=3,
            stopping=bench.stopping,
        )
    assert sorted(bench.cancelled) == [1, 2]
