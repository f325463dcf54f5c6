"""KServe's client, unchanged, against a server of ours in the same process.

Not part of the usual run: the client comes with the whole of KServe's model server, and
its messages and tritonclient's cannot share a process. `make conformance` runs it in an
environment of its own.
"""

import warnings
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from tests.support.inference import serving
from tests.support.tiny import tiny_input_gates, tiny_logits

with warnings.catch_warnings():
    # What KServe brings along is not ours to mend.
    warnings.simplefilter("ignore")
    from kserve import InferInput, InferOutput, InferRequest, InferResponse
    from kserve.inference_client import InferenceGRPCClient

SHORT = ("[CLS]", "good", "[SEP]")
LONG = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
TEXTS = ("good", "a funny movie")


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Any]:
    async with (
        serving(engine) as target,
        InferenceGRPCClient(target) as made,
    ):
        yield made


def request_for(*, is_raw: bool, **parameters: bool | int | str) -> Any:
    values = np.array([text.encode() for text in TEXTS], dtype=object)
    tensor = InferInput(name="text", shape=[2], datatype="BYTES")
    if is_raw:
        tensor.set_data_from_numpy(values, binary_data=True)
    else:
        tensor.data = values.tolist()
    return InferRequest(
        model_name="tiny",
        request_id="mine",
        infer_inputs=[tensor],
        parameters=parameters,
    )


def output(response: InferResponse, name: str) -> Any:
    (found,) = (each for each in response.outputs if each.name == name)
    assert isinstance(found, InferOutput)
    return found.as_numpy()


async def test_health_calls_answer(client: Any) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("tiny")


async def test_an_unknown_model_is_not_found(client: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.is_model_ready("huge")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("is_raw", [True, False])
async def test_inference_is_the_closed_form(client: Any, is_raw: bool) -> None:
    response = await client.infer(request_for(is_raw=is_raw))
    assert (response.model_name, response.model_version) == ("tiny", "3")
    assert response.id == "mine"
    logits = np.stack([tiny_logits(SHORT), tiny_logits(LONG)])
    assert output(response, "logits").tolist() == logits.tolist()
    gates = output(response, "input_gates")
    assert gates.shape == (2, 3, 6)
    assert (gates[0, :, :3] == tiny_input_gates(SHORT)).all()
    assert (gates[1] == tiny_input_gates(LONG)).all()
    mask = output(response, "token_mask")
    assert mask.tolist() == [[True] * 3 + [False] * 3, [True] * 6]


@pytest.mark.parametrize("is_raw", [True, False])
async def test_numbers_are_those_of_our_own_protocol(
    client: Any, engine: Engine, is_raw: bool
) -> None:
    response = await client.infer(request_for(is_raw=is_raw))
    reply = await engine.explain([TextInput(text=t) for t in TEXTS], ExplainOptions())
    for index, explanation in enumerate(reply.explanations):
        size = explanation.num_tokens
        assert explanation.hidden_gates is not None
        found = output(response, "hidden_gates")[index][:, :size]
        assert found.astype(np.float32).tobytes() == explanation.hidden_gates.tobytes()


async def test_parameters_go_both_ways(client: Any) -> None:
    request = request_for(is_raw=True, top_k=1, granularity="words", verify=True)
    response = await client.infer(request)
    assert output(response, "scores").shape == (2, 1)
    assert output(response, "verify_agreement").shape == (2, 1)
    assert response.parameters["num_tokens"].int64_param == 9
    assert len(response.parameters["digest"].string_param) == 64


async def test_a_failure_carries_status_and_words(client: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="holds 'topk'; known are") as raised:
        await client.infer(request_for(is_raw=True, topk=1))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
