"""Outputs of every task, by arithmetic and against our own protocol's values."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest

from diffmask_service.app import open_engine
from diffmask_service.engine import Engine
from diffmask_service.wire.inference import messages as pb
from tests.support.inference import (
    Array,
    arrays,
    calling,
    ids_tensor,
    infer_request,
    tensor_request,
)
from tests.support.tiny import TOKENS, tiny_input_gates
from tests.support.tiny_tasks import write_tiny_bundles


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_tiny_bundles(tmp_path_factory.mktemp("tasks"))


@pytest.fixture
def opened(
    directories: Mapping[str, Path], request: pytest.FixtureRequest
) -> Iterator[Engine]:
    engine = open_engine(directories[request.param])
    yield engine
    engine.close()


def serving_task(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("opened", [name], indirect=True, ids=[name])


async def outputs(engine: Engine, request: pb.ModelInferRequest) -> dict[str, Array]:
    async with calling(engine) as caller:
        return arrays(await caller.call("ModelInfer", request))


def sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


@serving_task("multi_label_classification")
async def test_every_label_that_holds_is_marked(opened: Engine) -> None:
    found = await outputs(opened, infer_request(["good", "bad", "a"], is_raw=True))
    # [CLS] weighs a quarter.
    totals = np.array([2.25, -1.75, 0.25], dtype=np.float32)
    assert (found["logits"] == np.stack([-totals, totals], axis=1)).all()
    assert found["label_mask"].tolist() == [[False, True], [True, False], [False, True]]
    assert np.allclose(found["probabilities"], sigmoid(found["logits"]), atol=1e-7)
    assert "label" not in found


@serving_task("regression")
async def test_a_value_is_the_number_that_the_model_gave(opened: Engine) -> None:
    found = await outputs(opened, infer_request(["good", "dull movie"], is_raw=True))
    assert found["value"].dtype == np.float32
    assert found["value"].tolist() == [2.25, -0.625]


@serving_task("token_classification")
async def test_every_word_has_its_label(opened: Engine) -> None:
    found = await outputs(opened, infer_request(["a funny movie", "bad"], is_raw=True))
    assert found["words"].tolist() == [[b"a", b"funny", b"movie"], [b"bad", b"", b""]]
    assert found["label"].tolist() == [
        [b"negative", b"positive", b"positive"],
        [b"negative", b"", b""],
    ]
    assert found["word_mask"].tolist() == [[True] * 3, [True, False, False]]
    assert found["word_offsets"].tolist() == [
        [[0, 1], [2, 7], [8, 13]],
        [[0, 3], [-1, -1], [-1, -1]],
    ]
    # fun weighs 1, and its first token stands for the word.
    assert np.allclose(found["probabilities"][0, 1, 1], sigmoid(np.array(2.0)))
    weights = [0.25, 0.0, 1.0, 0.5, 0.125, 0.0]
    assert found["logits"][0].tolist() == [[-w, w] for w in weights]
    assert found["logits"][1, 1].tolist() == [2.0, -2.0]


@serving_task("token_classification")
async def test_logits_are_those_of_tokens_whatever_the_units(opened: Engine) -> None:
    asked = infer_request(["a funny movie"], granularity="words", top_k=1)
    found = await outputs(opened, asked)
    assert found["tokens"].tolist() == [[b"funny"]]
    assert found["logits"].shape == (1, 6, 2)


@serving_task("token_classification")
async def test_each_token_of_the_caller_is_a_word(opened: Engine) -> None:
    spelled = ("[CLS]", "fun", "##ny", "[SEP]")
    request = tensor_request(
        ids_tensor("input_ids", [[TOKENS.index(token) for token in spelled]]),
        ids_tensor("attention_mask", [[1] * 4]),
    )
    found = await outputs(opened, request)
    assert found["words"].tolist() == [[b"fun", b"##ny"]]
    assert found["label"].tolist() == [[b"positive", b"positive"]]
    assert (found["word_offsets"] == -1).all()


@serving_task("question_answering")
async def test_an_answer_is_cut_out_of_the_context(opened: Engine) -> None:
    pairs = {"question": ["good", "a"], "context": ["Dull, fun movie", "movie"]}
    found = await outputs(opened, infer_request(pairs=pairs, is_raw=True))
    assert found["answer"].tolist() == [b"fun", b"movie"]
    assert found["answer_offsets"].tolist() == [[6, 9], [0, 5]]
    weights = np.array([0.25, 2.0, 0.0, -2.0, 0.0, 2.0, 0.25, 0.0])
    assert found["start_logits"][0].tolist() == weights.tolist()
    assert (found["start_logits"] == found["end_logits"]).all()
    chance = np.exp(2.0) / np.exp(weights).sum()
    assert found["probability"][0] == pytest.approx(chance**2, rel=1e-5)
    assert found["segments"][0].tolist() == [0, 0, 0, 1, 1, 1, 1, 0]


@serving_task("question_answering")
async def test_an_answer_in_tokens_has_no_offsets(opened: Engine) -> None:
    spelled = ("[CLS]", "good", "[SEP]", "fun", "movie", "[SEP]")
    request = tensor_request(
        ids_tensor("input_ids", [[TOKENS.index(token) for token in spelled]]),
        ids_tensor("attention_mask", [[1] * 6]),
        ids_tensor("token_type_ids", [[0, 0, 0, 1, 1, 1]]),
    )
    found = await outputs(opened, request)
    assert found["answer"].tolist() == [b"fun"]
    assert found["answer_offsets"].tolist() == [[-1, -1]]


@serving_task("pairs")
async def test_both_texts_of_a_pair_are_read(opened: Engine) -> None:
    pairs = {"text_pair": ["good"], "text": ["a"]}
    found = await outputs(opened, infer_request(pairs=pairs))
    tokens = ("[CLS]", "a", "[SEP]", "good", "[SEP]")
    # Weights count twice in the second text.
    assert found["logits"].tolist() == [[-4.25, 4.25]]
    assert (found["input_gates"][0] == tiny_input_gates(tokens)).all()
    assert found["segments"].tolist() == [[0, 0, 0, 1, 0]]


@serving_task("pairs")
@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"text": ["a"]}, "inputs: text_pair is missing; send text and text_pair"),
        ({"text": ["a"], "text_pair": ["a", "b"]}, "differ in their number of texts"),
        ({"question": ["a"], "context": ["a"]}, "has no input 'question'"),
    ],
)
async def test_a_pair_must_be_whole(
    opened: Engine, pairs: dict[str, list[str]], words: str
) -> None:
    async with calling(opened) as caller:
        with pytest.raises(grpc.aio.AioRpcError, match=words):
            await caller.call("ModelInfer", infer_request(pairs=pairs))


@pytest.mark.parametrize(
    "opened",
    [
        "text_classification",
        "multi_label_classification",
        "regression",
        "token_classification",
        "question_answering",
        "pairs",
    ],
    indirect=True,
)
async def test_outputs_have_the_shapes_that_the_metadata_promises(
    opened: Engine,
) -> None:
    text = ["a funny movie", "good"]
    async with calling(opened) as caller:
        metadata = await caller.call("ModelMetadata", pb.ModelMetadataRequest())
        names = [each.name for each in metadata.inputs if each.datatype == "BYTES"]
        request = infer_request(pairs=dict.fromkeys(names, text), verify=True)
        response = await caller.call("ModelInfer", request)
    promised = {each.name: each for each in metadata.outputs}
    assert [each.name for each in response.outputs] == list(promised)
    for output in response.outputs:
        wanted = promised[output.name]
        assert output.datatype == wanted.datatype
        assert len(output.shape) == len(wanted.shape)
        assert all(
            want in (-1, got)
            for want, got in zip(wanted.shape, output.shape, strict=True)
        )
