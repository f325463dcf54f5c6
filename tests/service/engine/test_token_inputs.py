"""Tokens that a caller made get the answer of the text that they came from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from diffmask_service.app import open_engine
from diffmask_service.core.predictions import SpanPrediction
from diffmask_service.core.values import (
    ExplainOptions,
    Explanation,
    Granularity,
    ModelInput,
    TextInput,
    TokenInput,
)
from diffmask_service.engine import Engine
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.errors import (
    InputTooLong,
    InvalidInput,
    UnsupportedTask,
)
from tests.support.replies import labelled
from tests.support.tiny import TOKENS, write_tiny_span_bundle
from tests.support.vocabularies import VOCABULARIES

FUNNY = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
PAIR = ("[CLS]", "fun", "[SEP]", "good", "movie", "[SEP]")
KINDS = (0, 0, 0, 1, 1, 1)


@pytest.fixture
def span_engine(tmp_path: Path) -> Iterator[Engine]:
    write_tiny_span_bundle(tmp_path / "spans")
    opened = open_engine(tmp_path / "spans")
    yield opened
    opened.close()


def tokens(spelled: Sequence[str], kinds: Sequence[int] | None = None) -> TokenInput:
    return TokenInput(
        input_ids=np.array([TOKENS.index(each) for each in spelled]),
        token_type_ids=None if kinds is None else np.array(kinds),
    )


async def explain_one(
    engine: Engine, asked: ModelInput, options: ExplainOptions | None = None
) -> Explanation:
    reply = await engine.explain([asked], options or ExplainOptions(verify=True))
    return reply.explanations[0]


async def test_tokens_get_the_answer_of_their_text(engine: Engine) -> None:
    of_text = await explain_one(engine, TextInput(text="a funny movie"))
    of_tokens = await explain_one(engine, tokens(FUNNY))
    assert of_tokens.input_gates is not None
    assert of_text.input_gates is not None
    assert (of_tokens.input_gates == of_text.input_gates).all()
    assert of_tokens.units is not None
    assert of_tokens.units.texts == FUNNY
    assert of_tokens.units.is_special.tolist() == [True, *[False] * 4, True]
    prediction, expected = (labelled(e.prediction) for e in (of_tokens, of_text))
    assert (prediction.logits == expected.logits).all()
    assert of_tokens.verifications[0].kept_share == of_text.verifications[0].kept_share


async def test_every_token_is_a_word_of_its_own(engine: Engine) -> None:
    options = ExplainOptions(granularity=Granularity.WORDS)
    explanation = await explain_one(engine, tokens(FUNNY), options)
    assert explanation.units is not None
    assert explanation.units.texts == ("a", "fun", "##ny", "movie")


async def test_an_unknown_word_is_no_template_token(engine: Engine) -> None:
    explanation = await explain_one(engine, tokens(("[CLS]", "[UNK]", "[SEP]")))
    assert explanation.units is not None
    assert explanation.units.is_special.tolist() == [True, False, True]


async def test_an_answer_is_cut_out_of_the_spelled_context(span_engine: Engine) -> None:
    of_tokens = await explain_one(span_engine, tokens(PAIR, KINDS))
    of_text = await explain_one(
        span_engine, TextInput(text="fun", text_pair="good movie")
    )
    assert isinstance(of_tokens.prediction, SpanPrediction)
    assert of_tokens.prediction == of_text.prediction


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (tokens(["[CLS]", *["a"] * 11, "[SEP]"]), "13 tokens; the model takes 12"),
        (tokens(["[CLS]", "[SEP]"]), "special tokens only"),
        (TokenInput(input_ids=np.array([999])), "holds the token 999"),
        (TokenInput(input_ids=np.array([-1])), "holds the token -1"),
        (TokenInput(input_ids=np.array([2**40])), "holds the token"),
        (tokens(["a"], [2]), "other values than 0 and 1"),
    ],
)
async def test_tokens_that_the_model_cannot_read_are_refused(
    engine: Engine, asked: TokenInput, words: str
) -> None:
    with pytest.raises((InvalidInput, InputTooLong), match=words):
        await explain_one(engine, asked)


async def test_a_second_text_is_refused_by_a_model_of_single_ones(
    engine: Engine,
) -> None:
    with pytest.raises(UnsupportedTask, match="tokens of a second text"):
        await explain_one(engine, tokens(PAIR, KINDS))


@pytest.mark.parametrize("kinds", [None, (0,) * 6])
async def test_a_second_text_is_required_by_a_model_of_pairs(
    pair_engine: Engine, kinds: Sequence[int] | None
) -> None:
    with pytest.raises(InvalidInput, match="no token of a second text"):
        await explain_one(pair_engine, tokens(PAIR, kinds))


async def test_a_second_text_of_special_tokens_only_is_refused(
    pair_engine: Engine,
) -> None:
    asked = tokens(("[CLS]", "a", "[SEP]", "[SEP]"), (0, 0, 0, 1))
    with pytest.raises(InvalidInput, match="special tokens only"):
        await explain_one(pair_engine, asked)


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_tokens_of_every_vocabulary_are_what_its_tokenizer_made(kind: str) -> None:
    tokenizer = TextTokenizer(VOCABULARIES[kind], max_tokens=99)
    pair = TextInput(text="A funny movie", text_pair="naïve words <mask> 😀")
    made = tokenizer.tokenize(pair, truncate=False, where="it")
    asked = TokenInput(input_ids=made.input_ids, token_type_ids=made.segments)
    found = tokenizer.look_up(asked, where="it")
    assert found.texts == made.texts
    assert (found.input_ids == made.input_ids).all()
    assert (found.segments == made.segments).all()
    # A token that is special but not of the template is the text's own.
    assert (found.is_special == made.is_special).all()
    assert ((found.word_index == -1) == made.is_special).all()


async def test_what_was_done_is_counted(engine: Engine) -> None:
    await explain_one(engine, tokens(FUNNY))
    with pytest.raises(InvalidInput):
        await explain_one(engine, TextInput(text=" "))
    statistics = engine.statistics
    assert (statistics.answered.count, statistics.failed.count) == (1, 1)
    assert statistics.num_texts == 1
    # One to explain, one to verify.
    assert statistics.num_runs == 2
