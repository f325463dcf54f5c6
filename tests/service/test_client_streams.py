"""Streams of both clients against a real server with made-up answers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import grpc
import pytest

from diffmask_service.client import AsyncClient, Client
from diffmask_service.client.streams import Exchange
from diffmask_service.core.values import Reply
from diffmask_service.errors import (
    DiffMaskError,
    InvalidInput,
    NotReadyError,
    OverloadedError,
    PermissionDenied,
    ServerError,
)
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.replies import is_same, reply
from tests.support.stub_server import Stub, serving

Results = list[Reply | DiffMaskError]
Collect = Callable[..., Results]


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


def collect_blocking(stub: Stub, batches: Iterable[Any], **keywords: Any) -> Results:
    with Client(stub.target, retries=False) as client:
        return list(client.explain_stream(batches, **keywords))


def collect_async(stub: Stub, batches: Iterable[Any], **keywords: Any) -> Results:
    async def run() -> Results:
        async with AsyncClient(stub.target, retries=False) as client:
            return [each async for each in client.explain_stream(batches, **keywords)]

    return asyncio.run(run())


both = pytest.mark.parametrize("collect", [collect_blocking, collect_async])


@both
def test_each_batch_gets_its_reply_or_its_own_error(
    stub: Stub, collect: Collect
) -> None:
    first, second, third = collect(stub, ["a", "bad", ["b", "c"]])
    assert isinstance(first, Reply)
    assert is_same(first, reply())
    assert isinstance(second, OverloadedError)
    assert second.retry_after_seconds == 0.5
    assert isinstance(third, Reply)
    assert [r.id for r in stub.stream_requests] == ["0", "1", "2"]
    assert len(stub.stream_requests[2].request.inputs) == 2


@both
def test_keywords_go_with_every_request(stub: Stub, collect: Collect) -> None:
    collect(stub, ["a", "b"], model="m", top_k=3, timeout_seconds=2.5)
    for request in stub.stream_requests:
        assert request.request.model == "m"
        assert request.request.options.top_k == 3
        assert request.timeout_seconds == 2.5


@both
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_time_is_not_the_default_time(
    stub: Stub, collect: Collect, seconds: float
) -> None:
    with pytest.raises(InvalidInput, match=f"timeout_seconds is {seconds}; give more"):
        collect(stub, ["a"], timeout_seconds=seconds)
    assert not stub.stream_requests


def test_room_is_given_back_where_it_was_taken_alone() -> None:
    exchange = Exchange(target="here", keywords={}, timeout_seconds=1.0)
    exchange.room = asyncio.Semaphore(0)
    assert len(list(exchange.write(["a", "b"]))) == 2
    for number in range(2):
        exchange.read(pb.ExplainStreamResponse(id=str(number)))
    assert exchange.room.locked()


@both
def test_what_the_iterable_raises_comes_after_the_replies(
    stub: Stub, collect: Collect
) -> None:
    def batches() -> Iterator[str]:
        yield "a"
        raise LookupError("line 2 of the file")

    with pytest.raises(LookupError, match="line 2"):
        collect(stub, batches())
    assert len(stub.stream_requests) == 1


@both
def test_a_batch_that_cannot_be_sent_is_named(stub: Stub, collect: Collect) -> None:
    with pytest.raises(InvalidInput, match="surrogate"):
        collect(stub, ["a", "\udcff"])


@both
def test_a_stream_that_fails_raises(stub: Stub, collect: Collect) -> None:
    stub.status = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(NotReadyError, match="the reason"):
        collect(stub, ["a"])


@both
def test_a_stream_refused_while_it_sends_says_why(stub: Stub, collect: Collect) -> None:
    # gRPC's client for event loops itself reports the failed sending nearly always.
    stub.status = grpc.StatusCode.PERMISSION_DENIED
    for _ in range(10):
        with pytest.raises(PermissionDenied, match="the reason"):
            collect(stub, itertools.repeat("a"))


@both
def test_a_missing_reply_is_no_silence(stub: Stub, collect: Collect) -> None:
    with pytest.raises(ServerError, match="after 1 of 2 replies"):
        collect(stub, ["a", "lost"])


@both
def test_the_reply_to_another_request_is_refused(stub: Stub, collect: Collect) -> None:
    stub.misnames = "7"
    with pytest.raises(ServerError, match="answered request 7"):
        collect(stub, ["a"])


def test_leaving_early_ends_an_endless_stream(stub: Stub) -> None:
    with Client(stub.target) as client:
        results = client.explain_stream(itertools.repeat("a"))
        assert isinstance(next(results), Reply)
        results.close()  # type: ignore[attr-defined]


async def test_an_async_iterable_is_read_as_it_comes(stub: Stub) -> None:
    heard = asyncio.Event()

    async def batches() -> AsyncIterator[str]:
        yield "a"
        await heard.wait()
        yield "b"

    async with AsyncClient(stub.target) as client:
        results = client.explain_stream(batches())
        assert isinstance(await anext(results), Reply)
        heard.set()
        assert isinstance(await anext(results), Reply)
        with pytest.raises(StopAsyncIteration):
            await anext(results)
