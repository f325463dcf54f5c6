"""What is attacked, with requests that a server takes before they are spoilt."""

import random
from collections.abc import AsyncIterator

import grpc.aio
import pytest

from benchmarks.fuzzing.attacks import draw_attacks
from benchmarks.fuzzing.methods import (
    METHODS,
    Method,
    read_explain_status,
    read_infer_status,
)
from diffmask_service.engine import Engine
from diffmask_service.transport.grpc.inference_service import SERVICE
from diffmask_service.wire.pb import explain_pb2 as pb
from tests.support.inference import serving

_STREAMS = [method for method in METHODS if method.read_status is not None]


@pytest.fixture
async def channel(engine: Engine) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(engine) as target, grpc.aio.insecure_channel(target) as made:
        yield made


def test_both_protocols_are_attacked() -> None:
    attacked = {method.path for method in METHODS}
    explainer = pb.DESCRIPTOR.services_by_name["Explainer"]
    assert {f"/{explainer.full_name}/{each.name}" for each in explainer.methods} <= (
        attacked
    )
    # Those that take no parameter, and one that does as its sibling does, are left out.
    rest = {each.name for each in SERVICE.methods} - {
        path.rpartition("/")[2] for path in attacked
    }
    assert rest == {
        "ServerLive",
        "ServerReady",
        "ServerMetadata",
        "RepositoryModelUnload",
    }


def test_calls_hold_as_many_messages_as_asked() -> None:
    attacks = list(draw_attacks(METHODS, random.Random(0), num_messages=3000))
    assert sum(len(attack.messages) for attack in attacks) == 3000
    assert {attack.method.path for attack in attacks} == {m.path for m in METHODS}
    sizes = {
        len(attack.messages) for attack in attacks if attack.method.read_status is None
    }
    assert sizes == {1}


@pytest.mark.parametrize("method", METHODS[:2], ids=lambda method: method.path)
async def test_seeds_of_one_request_are_taken(
    channel: grpc.aio.Channel, method: Method
) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        method.path
    )
    refused = [seed for seed in method.seeds if not await _is_taken(call, seed)]
    # A pair is one of them, and the model reads single texts.
    assert len(refused) <= 1
    assert all(b"bad" in seed for seed in refused)


@pytest.mark.parametrize("method", _STREAMS, ids=lambda method: method.path)
async def test_requests_of_a_stream_are_answered_one_by_one(
    channel: grpc.aio.Channel, method: Method
) -> None:
    assert method.read_status is not None
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        method.path
    )
    sent = [method.seeds[0], b"\xff", method.seeds[1]]
    ended = [method.read_status(answer) async for answer in call(iter(sent))]
    assert ended == ["OK", "INVALID_ARGUMENT", "OK"]


def test_the_statuses_of_streams_are_read() -> None:
    failed = pb.ExplainStreamResponse(failure=pb.Failure(code=13))
    assert read_explain_status(failed.SerializeToString()) == "INTERNAL"
    assert read_infer_status(b"") == "OK"


async def _is_taken(
    call: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", message: bytes
) -> bool:
    try:
        await call(message, timeout=60.0)
    except grpc.aio.AioRpcError:
        return False
    return True
