"""The engine on a model whose every value is known by arithmetic."""

from dataclasses import replace

import numpy as np
import pytest

from diffmask_service.core.values import (
    ExplainOptions,
    GateKind,
    Granularity,
    TextInput,
)
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    InputTooLong,
    InvalidInput,
    NotFound,
)
from diffmask_service.telemetry import Telemetry
from tests.support.engine import BOTH, TEXT, as_bytes, counted, explain_one
from tests.support.replies import labelled
from tests.support.tiny import (
    STATES,
    tiny_hidden_gates,
    tiny_input_gates,
    tiny_logits,
)

TOKENS = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
NONE = ExplainOptions(gates=frozenset())


async def test_prediction_is_the_closed_form(engine: Engine) -> None:
    prediction = labelled((await explain_one(engine)).prediction)
    assert prediction.logits.tolist() == tiny_logits(TOKENS).tolist()
    assert prediction.label == "positive"


async def test_gates_are_the_closed_form(engine: Engine) -> None:
    explanation = await explain_one(engine)
    assert explanation.input_gates is not None
    assert explanation.hidden_gates is not None
    assert (explanation.input_gates == tiny_input_gates(TOKENS)).all()
    assert (explanation.hidden_gates == tiny_hidden_gates(TOKENS)).all()


async def test_units_are_the_tokens_with_their_offsets(engine: Engine) -> None:
    units = (await explain_one(engine)).units
    assert units is not None
    assert units.texts == TOKENS
    assert units.starts.tolist() == [0, 0, 2, 5, 8, 0]
    assert units.ends.tolist() == [0, 1, 5, 7, 13, 0]
    assert units.is_special.tolist() == [True, False, False, False, False, True]


async def test_without_gates_the_prediction_comes_alone(engine: Engine) -> None:
    explanation = await explain_one(engine, options=NONE)
    assert explanation.units is None
    assert explanation.input_gates is None
    assert explanation.scores is None
    assert labelled(explanation.prediction).label == "positive"


async def test_prediction_and_gates_take_one_forward_pass(
    engine: Engine, telemetry: Telemetry
) -> None:
    await explain_one(engine)
    passes = "diffmask_forward_passes_total"
    assert counted(telemetry, passes, purpose="explain") == 1
    assert counted(telemetry, passes, purpose="verify") == 0


async def test_kept_tokens_are_predicted_alone(engine: Engine) -> None:
    kept = [True, True, False, True, True, True]
    prediction = await engine.predict_kept(
        TextInput(text=TEXT), np.array(kept, dtype=np.float32)
    )
    assert (
        labelled(prediction).logits.tolist() == tiny_logits(TOKENS, kept=kept).tolist()
    )


async def test_kept_tokens_must_be_as_many_as_the_text_has(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="has 6 tokens, and `keep` has 2"):
        await engine.predict_kept(TextInput(text=TEXT), np.ones(2, dtype=np.float32))


async def test_chosen_states_come_in_the_order_asked(engine: Engine) -> None:
    options = ExplainOptions(states=("block_1", "word_embeddings"))
    reply = await engine.explain([TextInput(text=TEXT)], options)
    gates = reply.explanations[0].input_gates
    assert reply.states == ("block_1", "word_embeddings")
    assert gates is not None
    assert (gates == tiny_input_gates(TOKENS)[[2, 0]]).all()


async def test_scores_average_all_states_whatever_was_chosen(engine: Engine) -> None:
    explanation = await explain_one(engine, options=ExplainOptions(states=("block_1",)))
    assert explanation.scores is not None
    assert explanation.scores.tolist() == pytest.approx(
        tiny_input_gates(TOKENS).mean(axis=0).tolist()
    )


async def test_hidden_gates_alone_leave_input_gates_out(engine: Engine) -> None:
    options = ExplainOptions(gates=frozenset({GateKind.HIDDEN}))
    explanation = await explain_one(engine, options=options)
    assert explanation.input_gates is None
    assert explanation.hidden_gates is not None


async def test_a_word_has_the_maximum_of_its_tokens(engine: Engine) -> None:
    options = ExplainOptions(granularity=Granularity.WORDS)
    explanation = await explain_one(engine, options=options)
    assert explanation.units is not None
    assert explanation.units.texts == ("a", "funny", "movie")
    assert explanation.input_gates is not None
    assert explanation.input_gates[0].tolist() == [0.125, 0.75, 0.5]


async def test_top_k_words_come_highest_first(engine: Engine) -> None:
    options = ExplainOptions(granularity=Granularity.WORDS, top_k=2)
    explanation = await explain_one(engine, options=options)
    assert explanation.units is not None
    assert explanation.units.texts == ("funny", "movie")
    assert explanation.scores is not None
    assert explanation.scores.tolist() == [0.5625, 0.375]


async def test_verify_runs_the_hard_mask_of_the_aggregate_score(
    engine: Engine, telemetry: Telemetry
) -> None:
    (verification,) = (
        await explain_one(engine, options=ExplainOptions(verify=True))
    ).verifications
    kept = [False, False, True, False, False, False]
    assert verification.state == ""
    assert verification.kept_share == pytest.approx(1 / 6)
    assert (
        labelled(verification.prediction).logits == tiny_logits(TOKENS, kept=kept)
    ).all()
    assert verification.is_agreeing
    passes = "diffmask_forward_passes_total"
    assert counted(telemetry, passes, purpose="verify") == 1


async def test_verify_states_run_one_mask_each(engine: Engine) -> None:
    options = ExplainOptions(verify=True, verify_states=("block_1", "word_embeddings"))
    last, first = (await explain_one(engine, options=options)).verifications
    assert (last.state, first.state) == ("block_1", "word_embeddings")
    assert last.kept_share == 0
    assert first.kept_share == pytest.approx(3 / 6)


async def test_verify_works_without_gates(engine: Engine) -> None:
    explanation = await explain_one(engine, options=replace(NONE, verify=True))
    assert len(explanation.verifications) == 1
    assert explanation.units is None


async def test_a_special_token_written_in_the_text_is_no_template_token(
    engine: Engine,
) -> None:
    explanation = await explain_one(engine, "a [MASK] movie")
    assert explanation.units is not None
    assert explanation.units.is_special.tolist() == [True, False, False, False, True]


async def test_a_long_text_is_refused_with_its_count(engine: Engine) -> None:
    with pytest.raises(InputTooLong, match=r"inputs\[0\] has 22 tokens.*takes 12") as e:
        await explain_one(engine, "a " * 20)
    assert (e.value.num_tokens, e.value.max_tokens) == (22, 12)


async def test_a_long_text_is_cut_and_flagged_on_request(engine: Engine) -> None:
    explanation = await explain_one(engine, "a " * 20, ExplainOptions(truncate=True))
    assert explanation.is_truncated
    assert explanation.num_tokens == 12
    assert explanation.units is not None
    assert explanation.units.texts[-1] == "[SEP]"


async def test_a_short_text_is_not_flagged_as_cut(engine: Engine) -> None:
    explanation = await explain_one(engine, TEXT, ExplainOptions(truncate=True))
    assert not explanation.is_truncated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \t\n", "is empty"),
        ("\u200b\x00", "nothing that the model can read"),
        ("a \ud800", "surrogate pair at position 2"),
        ("a" * 20_000, "20000 bytes"),
    ],
)
async def test_unreadable_texts_are_refused(
    engine: Engine, text: str, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await explain_one(engine, text)


async def test_no_text_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        await engine.explain([], BOTH)


async def test_too_many_texts_are_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="33 texts; send at most 32"):
        await engine.explain([TextInput(text="a")] * 33, BOTH)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (ExplainOptions(states=("block_9",)), NotFound),
        (ExplainOptions(verify=True, verify_states=("block_9",)), NotFound),
        (ExplainOptions(verify_states=("block_1",)), InvalidInput),
        (ExplainOptions(states=("block_1", "block_1")), InvalidInput),
        (ExplainOptions(top_k=0), InvalidInput),
        (ExplainOptions(top_k=1, gates=frozenset()), InvalidInput),
    ],
)
async def test_wrong_options_are_refused(
    engine: Engine, options: ExplainOptions, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await explain_one(engine, options=options)


async def test_an_unknown_state_is_answered_with_the_known_ones(
    engine: Engine,
) -> None:
    with pytest.raises(NotFound, match="'block_9'; it has word_embeddings, embeddings"):
        await explain_one(engine, options=ExplainOptions(states=("block_9",)))


TEXTS = ("good movie", "a bad movie", "fun movie", "dull", "a funny , dull movie", "a")


async def test_alone_together_and_reordered_give_the_same_bits(engine: Engine) -> None:
    alone = {text: as_bytes(await explain_one(engine, text)) for text in TEXTS}
    for order in (TEXTS, TEXTS[::-1], TEXTS * 3):
        reply = await engine.explain([TextInput(text=text) for text in order], BOTH)
        together = [as_bytes(each) for each in reply.explanations]
        assert together == [alone[text] for text in order]


async def test_texts_of_one_length_share_a_run(
    engine: Engine, telemetry: Telemetry
) -> None:
    await engine.explain([TextInput(text="good movie")] * 8, BOTH)
    assert counted(telemetry, "diffmask_run_texts_count") == 1
    assert counted(telemetry, "diffmask_run_texts_sum") == 8


async def test_gate_counters_add_up(engine: Engine, telemetry: Telemetry) -> None:
    await explain_one(engine)
    await explain_one(engine)
    labels = {"kind": "input", "state": "embeddings"}
    expected = 2 * float(tiny_input_gates(TOKENS)[1].sum())
    openness = counted(telemetry, "diffmask_gate_openness_total", **labels)
    assert openness == pytest.approx(expected)
    assert counted(telemetry, "diffmask_gate_tokens_total", **labels) == 12
    assert counted(telemetry, "diffmask_gate_kept_tokens_total", **labels) == 2


async def test_the_reply_names_model_and_request(engine: Engine) -> None:
    reply = await engine.explain([TextInput(text="a")], BOTH, request_id="abc")
    assert reply.model == engine.description.identity
    assert reply.states == STATES
    assert reply.request_id == "abc"
    assert reply.timings.infer_seconds > 0
