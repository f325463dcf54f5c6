"""Pairs of texts, on a model whose every value is known by arithmetic."""

import pytest

from diffmask_service.core.values import ExplainOptions, Granularity, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InvalidInput, UnsupportedTask
from tests.support.engine import BOTH
from tests.support.replies import labelled


async def test_a_pair_for_a_model_of_single_texts_is_refused(engine: Engine) -> None:
    with pytest.raises(UnsupportedTask, match="leave it out"):
        await engine.explain([TextInput(text="a", text_pair="b")], BOTH)


async def test_a_missing_pair_is_refused(pair_engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="lacks a text_pair"):
        await pair_engine.explain([TextInput(text="a")], BOTH)


async def test_an_empty_pair_is_refused(pair_engine: Engine) -> None:
    with pytest.raises(InvalidInput, match=r"text_pair is empty"):
        await pair_engine.explain([TextInput(text="a", text_pair=" ")], BOTH)


async def test_an_unreadable_half_of_a_pair_is_refused(pair_engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="nothing that the model can read"):
        await pair_engine.explain([TextInput(text="a", text_pair="\u200b")], BOTH)


async def test_a_pair_is_told_apart_by_segment(pair_engine: Engine) -> None:
    text = TextInput(text="good", text_pair="movie good")
    options = ExplainOptions(granularity=Granularity.WORDS)
    reply = await pair_engine.explain([text], options)
    (explanation,) = reply.explanations
    # [CLS] 0.25 + good 2 + twice (movie 0.125 + good 2).
    assert labelled(explanation.prediction).logits.tolist() == [-6.5, 6.5]
    assert explanation.units is not None
    assert explanation.units.texts == ("good", "movie", "good")
    assert explanation.units.segments.tolist() == [0, 1, 1]
