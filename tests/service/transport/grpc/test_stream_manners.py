"""ExplainStream over a real socket, with an engine that works as slowly as needed."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest

from diffmask_service.client import AsyncClient
from diffmask_service.client.streams import MAX_UNANSWERED
from diffmask_service.core.values import Reply
from diffmask_service.errors import NotReadyError, OverloadedError
from diffmask_service.telemetry import Telemetry
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.replies import reply
from tests.support.scripted import ANYWHERE, Scripted, serving

WINDOW = 3
SETTINGS = replace(ANYWHERE, stream_window=WINDOW)
PATH = "/diffmask.v1.Explainer/ExplainStream"


class Slow:
    """Answers a request once the test lets it."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.num_cancelled = 0
        self.changed = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self) -> Reply:
        self._count(begun=1)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self._count(cancelled=1)
            raise
        return reply()

    async def begun(self, number: int) -> None:
        while self.num_begun < number:
            await self.changed.wait()
            self.changed.clear()

    async def cancelled(self, number: int) -> None:
        while self.num_cancelled < number:
            await self.changed.wait()
            self.changed.clear()

    def _count(self, *, begun: int = 0, cancelled: int = 0) -> None:
        self.num_begun += begun
        self.num_cancelled += cancelled
        self.changed.set()


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
async def server(slow: Slow, telemetry: Telemetry) -> AsyncIterator[Scripted]:
    async with serving(
        Scripted(slow), settings=SETTINGS, telemetry=telemetry
    ) as running:
        yield running


@pytest.fixture
async def method(server: Scripted) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.target) as channel:
        yield stream_of(channel)


def stream_of(channel: grpc.aio.Channel) -> Any:
    """Return the method, to be called with requests or to be written to."""
    return channel.stream_stream(
        PATH,
        pb.ExplainStreamRequest.SerializeToString,
        pb.ExplainStreamResponse.FromString,
    )


def request(number: int, **fields: Any) -> pb.ExplainStreamRequest:
    return pb.ExplainStreamRequest(
        id=str(number),
        request=pb.ExplainRequest(inputs=[pb.TextInput(text="a")]),
        **fields,
    )


def requests(count: int) -> list[pb.ExplainStreamRequest]:
    return [request(number) for number in range(count)]


async def counted_as(telemetry: Telemetry, code: str) -> None:
    """Wait until a stream is counted as ended with a status."""
    labels = {
        "grpc_type": "bidi_stream",
        "grpc_service": "diffmask.v1.Explainer",
        "grpc_method": "ExplainStream",
        "grpc_code": code,
    }
    name = "grpc_server_handled_total"
    async with asyncio.timeout(60):
        # A counter has no event to wait for.
        while telemetry.registry.get_sample_value(name, labels) != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_no_more_than_the_window_reaches_the_engine(
    method: Any, slow: Slow, server: Scripted
) -> None:
    call = method(iter(requests(20)))
    await slow.begun(WINDOW)
    # Time for more to arrive, were it let in.
    await asyncio.sleep(0.05)
    assert slow.num_begun == WINDOW
    slow.may_end.set()
    assert [each.id async for each in call] == [str(number) for number in range(20)]
    assert server.num_calls == 20


async def test_a_caller_that_leaves_drops_its_work(
    method: Any, slow: Slow, server: Scripted, telemetry: Telemetry
) -> None:
    call = method(iter(requests(20)))
    await slow.begun(WINDOW)
    call.cancel()
    await slow.cancelled(WINDOW)
    await counted_as(telemetry, "CANCELLED")
    assert slow.num_begun == WINDOW


async def is_dropped_after(seconds: float) -> bool:
    """Return false where the deadline passed before the work had begun."""
    slow, telemetry = Slow(), Telemetry()
    async with (
        serving(Scripted(slow), settings=SETTINGS, telemetry=telemetry) as server,
        grpc.aio.insecure_channel(server.target) as channel,
    ):
        call = stream_of(channel)(iter(requests(20)), timeout=seconds)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if slow.num_begun < WINDOW:
            return False
        await slow.cancelled(WINDOW)
        await counted_as(telemetry, "DEADLINE_EXCEEDED")
    return True


async def test_the_deadline_of_the_stream_drops_its_work() -> None:
    # A busy machine may need a longer one.
    for seconds in (0.1, 1.0, 10.0, 100.0):
        if await is_dropped_after(seconds):
            return
    pytest.fail("nothing had begun before any deadline")


async def test_a_stop_waits_for_what_was_taken(
    method: Any, slow: Slow, server: Scripted
) -> None:
    call = method()
    # All are sent before the stop; gRPC's client calls a write that meets it INTERNAL.
    for each in requests(20):
        await call.write(each)
    await slow.begun(WINDOW)
    server.stopping.set()
    await asyncio.sleep(0.05)
    slow.may_end.set()
    assert [(await call.read()).id for _ in range(WINDOW)] == ["0", "1", "2"]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "stopping" in str(raised.value.details())
    assert dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"] == "500"


async def test_what_was_read_too_late_ends_the_stream_before_it(
    method: Any, server: Scripted
) -> None:
    async def refuse_second() -> Reply:
        if server.num_calls == 2:
            server.stopping.set()
            raise NotReadyError("draining")
        return reply()

    server.answer = refuse_second
    call = method()
    for each in requests(2):
        await call.write(each)
    assert (await call.read()).id == "0"
    with pytest.raises(grpc.aio.AioRpcError, match="stopping"):
        await call.read()
    assert await call.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_cancellation_from_within_is_one_failure(
    method: Any, server: Scripted
) -> None:
    async def abandon() -> Reply:
        if server.num_calls == 1:
            raise asyncio.CancelledError
        return reply()

    server.answer = abandon
    first, second = [each async for each in method(iter(requests(2)))]
    assert first.failure.code == grpc.StatusCode.UNAVAILABLE.value[0]
    assert second.HasField("response")


async def test_overload_in_a_stream_carries_the_hint(
    method: Any, server: Scripted
) -> None:
    async def refuse() -> Reply:
        raise OverloadedError("full", retry_after_seconds=0.25)

    server.answer = refuse
    (failed,) = [each async for each in method(iter(requests(1)))]
    assert failed.failure.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert failed.failure.retry_after_seconds == 0.25


async def test_many_streams_share_a_server(
    method: Any, slow: Slow, server: Scripted
) -> None:
    calls = [method(iter(requests(5))) for _ in range(8)]
    await slow.begun(8 * WINDOW)
    slow.may_end.set()
    for call in calls:
        assert [each.id async for each in call] == ["0", "1", "2", "3", "4"]


async def test_our_client_is_told_of_a_stop_in_the_middle(server: Scripted) -> None:
    async def answer() -> Reply:
        if server.num_calls == 200:
            server.stopping.set()
        return reply()

    server.answer = answer
    replies: list[object] = []

    async def take(client: AsyncClient) -> None:
        async for result in client.explain_stream(itertools.repeat("a")):
            replies.append(result)  # noqa: PERF401 - kept when the stream fails

    async with AsyncClient(server.target, retries=False) as client:
        with pytest.raises(NotReadyError):
            await take(client)
    # Replies that arrive after a write that failed are lost in gRPC's own client.
    assert 0 < len(replies) <= 200 + 2 * WINDOW
    assert all(isinstance(each, Reply) for each in replies)


async def test_our_client_sends_no_more_than_may_be_unanswered(
    server: Scripted, slow: Slow
) -> None:
    num_taken = 0

    def batches() -> Iterator[str]:
        nonlocal num_taken
        while True:
            num_taken += 1
            yield "a"

    async with AsyncClient(server.target) as client:
        results = client.explain_stream(batches())
        first = asyncio.ensure_future(anext(results))
        await slow.begun(WINDOW)
        await asyncio.sleep(0.05)
        assert num_taken <= MAX_UNANSWERED + 1
        slow.may_end.set()
        assert isinstance(await first, Reply)
        await results.aclose()  # type: ignore[attr-defined]
