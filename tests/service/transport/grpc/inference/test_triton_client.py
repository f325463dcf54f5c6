"""`tritonclient`, unchanged, against a server of ours in the same process."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from diffmask_service import __version__
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from tests.support.inference import serving
from tests.support.tiny import tiny_input_gates, tiny_logits

SHORT = ("[CLS]", "good", "[SEP]")
LONG = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
TEXTS = ("good", "a funny movie")
_Value = TypeVar("_Value")


@pytest.fixture
async def target(engine: Engine) -> AsyncIterator[str]:
    async with serving(engine) as made:
        yield made


def texts_input(module: Any = triton) -> Any:
    tensor = module.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in TEXTS], object))
    return tensor


async def blocking(target: str, work: Callable[[Any], _Value]) -> _Value:
    """Do something with the blocking client, off the loop that serves it."""

    def with_client() -> _Value:
        with triton.InferenceServerClient(target) as client:
            return work(client)

    return await asyncio.to_thread(with_client)


async def test_health_calls_answer(target: str) -> None:
    def ask(client: Any) -> list[bool]:
        return [
            client.is_server_live(),
            client.is_server_ready(),
            client.is_model_ready("tiny"),
            client.is_model_ready("tiny", "3"),
        ]

    assert await blocking(target, ask) == [True] * 4


async def test_inference_is_the_closed_form(target: str) -> None:
    result = await blocking(target, lambda c: c.infer("tiny", [texts_input()]))
    assert result.get_response().model_version == "3"
    logits = np.stack([tiny_logits(SHORT), tiny_logits(LONG)])
    assert result.as_numpy("logits").tolist() == logits.tolist()
    assert result.as_numpy("label").tolist() == [b"positive"] * 2
    gates = result.as_numpy("input_gates")
    assert gates.shape == (2, 3, 6)
    assert (gates[0, :, :3] == tiny_input_gates(SHORT)).all()
    assert (gates[1] == tiny_input_gates(LONG)).all()
    assert result.as_numpy("tokens")[1].tolist() == [token.encode() for token in LONG]
    assert result.as_numpy("token_mask").dtype == np.bool_
    assert result.as_numpy("offsets").dtype == np.int32


async def test_numbers_are_those_of_our_own_protocol(
    target: str, engine: Engine
) -> None:
    result = await blocking(target, lambda c: c.infer("tiny", [texts_input()]))
    reply = await engine.explain([TextInput(text=t) for t in TEXTS], ExplainOptions())
    for index, explanation in enumerate(reply.explanations):
        size = explanation.num_tokens
        for name, gates in (
            ("input_gates", explanation.input_gates),
            ("hidden_gates", explanation.hidden_gates),
            ("scores", explanation.scores),
        ):
            assert gates is not None
            found = result.as_numpy(name)[index][..., :size]
            assert np.ascontiguousarray(found).tobytes() == gates.tobytes()


async def test_requested_outputs_come_alone_and_in_order(target: str) -> None:
    names = ["scores", "label"]
    wanted = [triton.InferRequestedOutput(name) for name in names]
    result = await blocking(
        target, lambda c: c.infer("tiny", [texts_input()], outputs=wanted)
    )
    assert [output.name for output in result.get_response().outputs] == names


async def test_classes_come_as_value_index_and_label(target: str) -> None:
    wanted = [triton.InferRequestedOutput("logits", class_count=5)]
    result = await blocking(
        target, lambda c: c.infer("tiny", [texts_input()], outputs=wanted)
    )
    assert result.as_numpy("logits").tolist() == [
        [b"2.250000:1:positive", b"-2.250000:0:negative"],
        [b"1.875000:1:positive", b"-1.875000:0:negative"],
    ]


async def test_parameters_and_identity_are_honoured(target: str) -> None:
    result = await blocking(
        target,
        lambda client: client.infer(
            "tiny",
            [texts_input()],
            model_version="3",
            request_id="mine",
            priority=1,
            timeout=30_000_000,
            parameters={"top_k": 1, "granularity": "words", "verify": True},
        ),
    )
    assert result.get_response().id == "mine"
    assert result.as_numpy("tokens").tolist() == [[b"good"], [b"funny"]]
    assert result.as_numpy("verify_agreement").shape == (2, 1)


async def test_a_failure_carries_status_and_words(target: str) -> None:
    wanted = [triton.InferRequestedOutput("importance")]
    with pytest.raises(InferenceServerException, match="no output 'importance'") as e:
        await blocking(
            target, lambda c: c.infer("tiny", [texts_input()], outputs=wanted)
        )
    assert e.value.status() == "StatusCode.INVALID_ARGUMENT"


async def test_metadata_and_configuration_agree(target: str) -> None:
    def ask(client: Any) -> list[Any]:
        return [
            client.get_server_metadata(as_json=True),
            client.get_model_metadata("tiny", as_json=True),
            client.get_model_config("tiny", as_json=True)["config"],
        ]

    server, metadata, config = await blocking(target, ask)
    assert (server["name"], server["version"]) == ("diffmask-service", __version__)
    assert "classification" in server["extensions"]
    assert "model_repository" not in server["extensions"]
    assert (metadata["platform"], metadata["versions"]) == ("onnx_onnxv1", ["3"])
    assert config["platform"] == "onnx_onnxv1"
    for key, described in (("inputs", "input"), ("outputs", "output")):
        assert [(each["name"], each["shape"]) for each in metadata[key]] == [
            (each["name"], each["dims"]) for each in config[described]
        ]
    assert config["parameters"]["labels"]["string_value"] == "negative,positive"
    assert config["version_policy"]["specific"]["versions"] == ["3"]
    assert config["instance_group"][0]["kind"] == "KIND_CPU"
    assert config["dynamic_batching"]["priority_levels"] == "3"
    policy = config["dynamic_batching"]["default_queue_policy"]
    assert policy["default_timeout_microseconds"] == "10000000"


async def test_statistics_count_requests_texts_and_runs(target: str) -> None:
    def ask(client: Any) -> Any:
        client.infer("tiny", [texts_input()])
        client.infer("tiny", [texts_input()], parameters={"verify": True})
        with pytest.raises(InferenceServerException):
            client.infer("tiny", [texts_input()], timeout=1)
        return client.get_inference_statistics("tiny").model_stats[0]

    found = await blocking(target, ask)
    stats = found.inference_stats
    assert (found.name, found.version) == ("tiny", "3")
    assert found.inference_count == 4
    # Two texts of unequal length each time, and both again under their masks.
    assert found.execution_count == 6
    assert (stats.success.count, stats.fail.count) == (2, 1)
    assert stats.success.ns >= stats.compute_infer.ns > 0
    assert stats.compute_infer.count == stats.queue.count == 2
    assert sum(each.compute_infer.count for each in found.batch_stats) == 6
    assert found.last_inference > 1.7e12


async def test_the_repository_is_listed_and_model_control_refused(
    target: str,
) -> None:
    def ask(client: Any) -> list[Any]:
        index = client.get_model_repository_index().models
        refused = []
        for change in (client.load_model, client.unload_model):
            with pytest.raises(InferenceServerException) as raised:
                change("tiny")
            refused.append(raised.value.status())
        return [[(m.name, m.version, m.state) for m in index], refused]

    index, refused = await blocking(target, ask)
    assert index == [("tiny", "3", "READY")]
    assert refused == ["StatusCode.PERMISSION_DENIED"] * 2


async def test_model_control_reaches_the_repository(engine: Engine) -> None:
    class Control:
        def __init__(self) -> None:
            self.calls: list[tuple[str, str]] = []

        async def load(self, name: str) -> None:
            self.calls.append(("load", name))

        async def unload(self, name: str) -> None:
            self.calls.append(("unload", name))

    def change(client: Any) -> Any:
        client.load_model("tiny")
        client.unload_model("tiny", unload_dependents=True)
        with pytest.raises(InferenceServerException, match="parameters: are not"):
            client.load_model("tiny", config="{}")
        return client.get_server_metadata().extensions

    control = Control()
    async with serving(engine, control=control) as target:
        extensions = await blocking(target, change)
    assert control.calls == [("load", "tiny"), ("unload", "tiny")]
    assert "model_repository" in extensions


async def test_the_blocking_stream_answers_and_fails_within(target: str) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def stream(client: Any) -> list[tuple[Any, Any]]:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("tiny", [texts_input()], request_id="first")
        wrong = [triton.InferRequestedOutput("importance")]
        client.async_stream_infer("tiny", [texts_input()], outputs=wrong)
        client.async_stream_infer("tiny", [texts_input()], request_id="third")
        found = [answers.get(timeout=30) for _ in range(3)]
        client.stop_stream()
        return found

    first, second, third = await blocking(target, stream)
    assert first[0].get_response().id == "first"
    assert first[0].as_numpy("label").tolist() == [b"positive"] * 2
    assert "no output 'importance'" in str(second[1])
    assert third[0].get_response().id == "third"


async def test_the_asynchronous_client_infers_and_streams(target: str) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for name in ("tiny", "huge"):
            yield {"model_name": name, "inputs": [texts_input(triton_aio)]}

    async with triton_aio.InferenceServerClient(target) as client:
        assert await client.is_server_ready()
        result = await client.infer("tiny", [texts_input(triton_aio)])
        streamed = [each async for each in client.stream_infer(requests())]
    assert result.as_numpy("label").tolist() == [b"positive"] * 2
    (answered, nothing), (none, error) = streamed
    assert nothing is None
    assert answered.as_numpy("label").tolist() == [b"positive"] * 2
    assert none is None
    assert "no model" in str(error)


async def test_tokens_can_be_sent_in_place_of_texts(target: str) -> None:
    tokens = [
        triton.InferInput(n, [1, 3], "INT64") for n in ("input_ids", "attention_mask")
    ]
    tokens[0].set_data_from_numpy(np.array([[2, 5, 3]]))
    tokens[1].set_data_from_numpy(np.ones((1, 3), dtype=np.int64))
    result = await blocking(target, lambda c: c.infer("tiny", tokens))
    assert result.as_numpy("tokens").tolist() == [[b"[CLS]", b"good", b"[SEP]"]]
    assert result.as_numpy("logits").tolist() == [tiny_logits(SHORT).tolist()]


async def test_compressed_requests_are_read(target: str) -> None:
    result = await blocking(
        target,
        lambda c: c.infer("tiny", [texts_input()], compression_algorithm="gzip"),
    )
    assert result.as_numpy("label").tolist() == [b"positive"] * 2
