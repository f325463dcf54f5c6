"""Explanations that are wanted on conditions only, and callers who share a run."""

import asyncio

import pytest

from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    Granularity,
    TextInput,
)
from diffmask_service.engine import Engine
from diffmask_service.errors import NotFound
from diffmask_service.telemetry import Telemetry
from tests.support.engine import as_bytes, counted, explain_one
from tests.support.replies import labelled
from tests.support.tiny import STATES, tiny_input_gates


async def test_an_unmet_condition_leaves_gates_and_verifying_runs_out(
    engine: Engine, telemetry: Telemetry
) -> None:
    # "good" is predicted with a probability over 0.9, "a" under 0.7.
    condition = ExplainWhen(probability_below=0.7)
    options = ExplainOptions(verify=True, explain_when=condition)
    inputs = [TextInput(text="good"), TextInput(text="a")]
    sure, torn = (await engine.explain(inputs, options)).explanations
    assert sure.is_left_out
    assert (sure.units, sure.scores, sure.verifications) == (None, None, ())
    assert (sure.input_gates, sure.hidden_gates) == (None, None)
    assert labelled(sure.prediction).label == "positive"
    assert not torn.is_left_out
    assert torn.input_gates is not None
    assert len(torn.verifications) == 1
    passes = "diffmask_forward_passes_total"
    assert counted(telemetry, passes, purpose="explain") == 2
    assert counted(telemetry, passes, purpose="verify") == 1


async def test_a_met_condition_changes_nothing(engine: Engine) -> None:
    options = ExplainOptions(explain_when=ExplainWhen(labels=("positive",)))
    assert as_bytes(await explain_one(engine, options=options)) == as_bytes(
        await explain_one(engine)
    )


async def test_nothing_is_called_left_out_that_was_not_asked_for(
    engine: Engine,
) -> None:
    options = ExplainOptions(
        gates=frozenset(), explain_when=ExplainWhen(labels=("negative",))
    )
    assert not (await explain_one(engine, options=options)).is_left_out


async def test_an_unmet_condition_with_top_k_words_is_no_error(engine: Engine) -> None:
    options = ExplainOptions(
        granularity=Granularity.WORDS,
        top_k=1,
        explain_when=ExplainWhen(labels=("negative",)),
    )
    assert (await explain_one(engine, options=options)).is_left_out


async def test_a_condition_on_an_unknown_label_is_refused(engine: Engine) -> None:
    options = ExplainOptions(explain_when=ExplainWhen(labels=("fine",)))
    with pytest.raises(NotFound, match="no label 'fine'"):
        await explain_one(engine, options=options)


async def test_callers_who_share_a_run_get_what_each_selected(
    engine: Engine, telemetry: Telemetry
) -> None:
    text = [TextInput(text="good movie")]
    selected = [
        ExplainOptions(states=("block_1",)),
        ExplainOptions(states=("embeddings", "word_embeddings"), top_k=1),
        ExplainOptions(granularity=Granularity.WORDS),
        ExplainOptions(explain_when=ExplainWhen(labels=("negative",))),
    ]
    replies = await asyncio.gather(*(engine.explain(text, each) for each in selected))
    one, top, words, left_out = (reply.explanations[0] for reply in replies)
    gates = tiny_input_gates(("[CLS]", "good", "movie", "[SEP]"))
    assert one.input_gates is not None
    assert top.input_gates is not None
    assert words.input_gates is not None
    assert (one.input_gates == gates[[2]]).all()
    assert (top.input_gates == gates[[1, 0], 1:2]).all()
    assert (words.input_gates == gates[:, 1:3]).all()
    assert left_out.input_gates is None
    assert [reply.states for reply in replies] == [
        ("block_1",),
        ("embeddings", "word_embeddings"),
        STATES,
        STATES,
    ]
    assert counted(telemetry, "diffmask_run_texts_sum") == 4
    assert counted(telemetry, "diffmask_run_texts_count") < 4
