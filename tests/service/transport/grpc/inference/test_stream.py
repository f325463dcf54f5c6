"""ModelStreamInfer: answers in order, failures within the stream."""

from collections.abc import AsyncIterator

import pytest

from diffmask_service.engine import Engine
from diffmask_service.wire.inference import messages as pb
from tests.support.inference import Caller, arrays, calling, infer_request


@pytest.fixture
async def caller(engine: Engine) -> AsyncIterator[Caller]:
    async with calling(engine) as made:
        yield made


def named(key: str, request: pb.ModelInferRequest) -> pb.ModelInferRequest:
    request.id = key
    return request


async def test_answers_come_in_the_order_of_their_requests(caller: Caller) -> None:
    # More than the window; the long ones take longer.
    texts = ["a funny movie" if number % 3 else "good" for number in range(40)]
    requests = [
        named(str(number), infer_request([text], outputs=["num_tokens"]))
        for number, text in enumerate(texts)
    ]
    responses = await caller.stream(*requests)
    assert [each.infer_response.id for each in responses] == [
        str(number) for number in range(40)
    ]
    counts = [arrays(each.infer_response)["num_tokens"].item() for each in responses]
    assert counts == [3 if text == "good" else 6 for text in texts]
    assert not any(each.error_message for each in responses)


async def test_a_failed_request_leaves_the_stream_open(caller: Caller) -> None:
    failed, answered = await caller.stream(
        named("bad", infer_request(["a " * 50])), named("good", infer_request())
    )
    assert "tokens, special tokens counted" in failed.error_message
    assert failed.infer_response.id == "bad"
    status = failed.infer_response.parameters["status"].string_param
    assert status == "INVALID_ARGUMENT"
    assert not failed.infer_response.outputs
    assert answered.infer_response.id == "good"
    assert not answered.error_message


async def test_a_message_that_does_not_parse_fails_alone(caller: Caller) -> None:
    failed, answered = await caller.stream(b"\x0a\x7f", infer_request())
    assert "not a valid message" in failed.error_message
    assert answered.infer_response.outputs


async def test_every_request_has_an_identity_of_its_own(caller: Caller) -> None:
    answers = await caller.stream(infer_request(), infer_request(top_k=0))
    first, second = (
        each.infer_response.parameters["request_id"].string_param for each in answers
    )
    assert first.removesuffix(".1") == second.removesuffix(".2")


async def test_a_drained_model_says_when_to_try_again(
    caller: Caller, engine: Engine
) -> None:
    await engine.drain(0.0)
    (failed,) = await caller.stream(infer_request())
    parameters = failed.infer_response.parameters
    assert parameters["status"].string_param == "UNAVAILABLE"
    assert parameters["retry_after_ms"].int64_param > 0


async def test_an_empty_stream_ends(caller: Caller) -> None:
    assert await caller.stream() == []
