"""ModelInfer on models whose every value is known by arithmetic."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from diffmask_service.wire.inference import messages as pb
from tests.support.inference import (
    Caller,
    arrays,
    calling,
    ids_tensor,
    infer_request,
    tensor_request,
)
from tests.support.replies import labelled
from tests.support.tiny import (
    DECAYS,
    TOKENS,
    tiny_hidden_gates,
    tiny_input_gates,
    tiny_logits,
)

SHORT = ("[CLS]", "good", "[SEP]")
LONG = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
TEXTS = ("good", "a funny movie")
EVERY = (
    *("label", "probabilities", "logits", "num_tokens", "is_truncated", "tokens"),
    *("offsets", "segments", "is_special", "token_mask", "scores"),
    *("input_gates", "hidden_gates"),
)
VERIFYING = ("verify_agreement", "verify_divergence", "verify_kept_share")


@pytest.fixture
async def caller(engine: Engine) -> AsyncIterator[Caller]:
    async with calling(engine) as made:
        yield made


async def infer(caller: Caller, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    reply = await caller.call("ModelInfer", request)
    assert isinstance(reply, pb.ModelInferResponse)
    return reply


async def test_predictions_are_the_closed_form(caller: Caller) -> None:
    found = arrays(await infer(caller, infer_request(TEXTS)))
    expected = [tiny_logits(SHORT), tiny_logits(LONG)]
    assert (found["logits"] == expected).all()
    assert found["label"].tolist() == [b"positive", b"positive"]
    assert found["num_tokens"].tolist() == [3, 6]
    assert found["is_truncated"].tolist() == [False, False]


async def test_explanations_are_the_closed_form_and_padded_behind(
    caller: Caller,
) -> None:
    found = arrays(await infer(caller, infer_request(TEXTS)))
    assert found["input_gates"].shape == (2, 3, 6)
    assert (found["input_gates"][0, :, :3] == tiny_input_gates(SHORT)).all()
    assert (found["input_gates"][1] == tiny_input_gates(LONG)).all()
    assert (found["hidden_gates"][1] == tiny_hidden_gates(LONG)).all()
    assert not found["hidden_gates"][0, :, 3:].any()
    means = np.float32(np.mean(DECAYS)) * tiny_input_gates(LONG)[0]
    assert found["scores"][1].tolist() == means.tolist()
    assert found["token_mask"].tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    assert found["tokens"][0].tolist() == [b"[CLS]", b"good", b"[SEP]", b"", b"", b""]
    assert found["is_special"][0].tolist() == [True, False, True, *[False] * 3]
    assert found["offsets"][0].tolist() == [[0, 0], [0, 4], [0, 0], *[[-1, -1]] * 3]


@pytest.mark.parametrize("is_raw", [True, False])
async def test_a_reply_comes_as_the_request_did(caller: Caller, is_raw: bool) -> None:
    response = await infer(caller, infer_request(TEXTS, is_raw=is_raw))
    assert len(response.raw_output_contents) == (len(EVERY) if is_raw else 0)
    assert all(o.HasField("contents") is not is_raw for o in response.outputs)


async def test_both_representations_hold_the_same(caller: Caller) -> None:
    raw = arrays(await infer(caller, infer_request(TEXTS, is_raw=True)))
    typed = arrays(await infer(caller, infer_request(TEXTS, is_raw=False)))
    assert raw.keys() == typed.keys()
    for name, values in raw.items():
        assert values.dtype == typed[name].dtype
        assert values.tolist() == typed[name].tolist()


async def test_numbers_are_those_of_our_own_protocol(
    caller: Caller, engine: Engine
) -> None:
    options = ExplainOptions(verify=True)
    found = arrays(await infer(caller, infer_request(TEXTS, is_raw=True, verify=True)))
    reply = await engine.explain([TextInput(text=text) for text in TEXTS], options)
    for index, explanation in enumerate(reply.explanations):
        size = explanation.num_tokens
        prediction = labelled(explanation.prediction)
        (verification,) = explanation.verifications
        for name, expected in (
            ("logits", prediction.logits),
            ("probabilities", prediction.probabilities),
        ):
            assert found[name][index].tobytes() == expected.tobytes()
        for name, gates in (
            ("input_gates", explanation.input_gates),
            ("hidden_gates", explanation.hidden_gates),
            ("scores", explanation.scores),
        ):
            assert gates is not None
            assert (found[name][index][..., :size] == gates).all()
        assert found["verify_agreement"][index].tolist() == [verification.is_agreeing]
        kept = np.float32(verification.kept_share)
        assert found["verify_kept_share"][index].tolist() == [kept]


async def test_no_outputs_mean_all_of_them_but_no_further_run(
    caller: Caller, engine: Engine
) -> None:
    response = await infer(caller, infer_request())
    assert tuple(output.name for output in response.outputs) == EVERY
    assert engine.statistics.num_runs == 1


async def test_verifying_comes_with_its_outputs(caller: Caller) -> None:
    response = await infer(caller, infer_request(verify=True))
    assert tuple(o.name for o in response.outputs) == EVERY + VERIFYING


async def test_naming_an_output_to_verify_verifies(
    caller: Caller, engine: Engine
) -> None:
    asked = infer_request(outputs=["verify_kept_share"])
    found = arrays(await infer(caller, asked))
    assert found["verify_kept_share"].tolist() == [[pytest.approx(1 / 6)]]
    assert engine.statistics.num_runs == 2


async def test_states_to_verify_make_one_mask_each(caller: Caller) -> None:
    asked = infer_request(verify_states="block_1, word_embeddings")
    found = arrays(await infer(caller, asked))
    assert found["verify_kept_share"].tolist() == [[0.0, 0.5]]


async def test_outputs_come_in_the_order_asked_and_alone(caller: Caller) -> None:
    names = ("hidden_gates", "label", "tokens", "logits")
    response = await infer(caller, infer_request(outputs=names))
    assert tuple(output.name for output in response.outputs) == names


async def test_a_prediction_alone_runs_no_probe(caller: Caller, engine: Engine) -> None:
    response = await infer(caller, infer_request(outputs=["label", "tokens"]))
    found = arrays(response)
    assert found["tokens"].tolist() == [[token.encode() for token in LONG]]
    assert engine.statistics.num_runs == 1


async def test_states_come_in_the_order_asked(caller: Caller) -> None:
    asked = infer_request(states="block_1,word_embeddings", outputs=["input_gates"])
    response = await infer(caller, asked)
    gates = arrays(response)["input_gates"]
    assert (gates[0] == tiny_input_gates(LONG)[[2, 0]]).all()
    assert response.parameters["states"].string_param == "block_1,word_embeddings"


async def test_top_units_come_highest_first(caller: Caller) -> None:
    asked = infer_request(TEXTS, top_k=2, granularity="words")
    found = arrays(await infer(caller, asked))
    assert found["tokens"].tolist() == [[b"good", b""], [b"funny", b"movie"]]
    assert found["token_mask"].tolist() == [[True, False], [True, True]]
    assert found["offsets"][1].tolist() == [[2, 7], [8, 13]]
    assert found["input_gates"].shape == (2, 3, 2)


async def test_top_units_are_chosen_even_where_no_gate_is_asked_for(
    caller: Caller,
) -> None:
    asked = infer_request(top_k=1, outputs=["tokens"])
    assert arrays(await infer(caller, asked))["tokens"].tolist() == [[b"fun"]]


async def test_a_long_text_is_cut_on_request(caller: Caller) -> None:
    asked = infer_request(["a " * 50, "good"], truncate=True)
    response = await infer(caller, asked)
    assert arrays(response)["is_truncated"].tolist() == [True, False]
    assert response.parameters["num_truncated"].int64_param == 1


async def test_a_reply_says_who_answered_and_where_the_time_went(
    caller: Caller, engine: Engine
) -> None:
    response = await infer(caller, infer_request(TEXTS))
    parameters = response.parameters
    identity = engine.description.identity
    assert (response.model_name, response.model_version) == ("tiny", "3")
    assert parameters["digest"].string_param == identity.digest
    assert parameters["precision"].string_param == "fp32"
    assert parameters["num_tokens"].int64_param == 9
    assert parameters["infer_ns"].int64_param > 0
    assert parameters["request_id"].string_param


async def test_an_id_comes_back(caller: Caller) -> None:
    request = infer_request()
    request.id = "mine"
    assert (await infer(caller, request)).id == "mine"


async def test_an_id_is_made_where_none_came(caller: Caller) -> None:
    response = await infer(caller, infer_request())
    assert response.id == response.parameters["request_id"].string_param


def ids_of(tokens: tuple[str, ...]) -> list[int]:
    return [TOKENS.index(token) for token in tokens]


async def test_tokens_stand_where_their_caller_put_them(caller: Caller) -> None:
    padding = [0, 0, 0]
    request = tensor_request(
        ids_tensor("input_ids", [padding + ids_of(SHORT), ids_of(LONG)]),
        ids_tensor("attention_mask", [[0, 0, 0, 1, 1, 1], [1] * 6]),
    )
    found = arrays(await infer(caller, request))
    assert (found["logits"] == [tiny_logits(SHORT), tiny_logits(LONG)]).all()
    assert (found["input_gates"][0, :, 3:] == tiny_input_gates(SHORT)).all()
    assert found["token_mask"][0].tolist() == [False] * 3 + [True] * 3
    assert found["tokens"][0].tolist() == [b"", b"", b"", b"[CLS]", b"good", b"[SEP]"]
    assert (found["offsets"] == -1).all()


async def test_tokens_that_all_pad_at_the_end_keep_their_width(caller: Caller) -> None:
    request = tensor_request(
        ids_tensor("input_ids", [[*ids_of(SHORT), 0, 0]]),
        ids_tensor("attention_mask", [[1, 1, 1, 0, 0]]),
    )
    assert arrays(await infer(caller, request))["scores"].shape == (1, 5)
