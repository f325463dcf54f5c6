import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.alignment import group_words
from diffmask_service.core.values import TextInput
from diffmask_service.engine.limits import EngineLimits, check_inputs
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.errors import BundleError, InputTooLong, InvalidInput
from tests.support.tiny import MAX_TOKENS, TOKENS, tiny_tokenizer
from tests.support.vocabularies import VOCABULARIES

TOKENIZER = TextTokenizer(tiny_tokenizer(), max_tokens=MAX_TOKENS)


@pytest.mark.parametrize("definition", [b"", b"{}", b"\xff"])
def test_what_is_no_tokenizer_is_refused(definition: bytes) -> None:
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
        TextTokenizer(definition, max_tokens=MAX_TOKENS)


def test_settings_saved_with_the_tokenizer_do_not_count() -> None:
    # The file asks for padding to 12 and truncation to 4.
    tokens = TOKENIZER.tokenize(
        TextInput(text="a good movie"), truncate=False, where="inputs[0]"
    )
    assert tokens.texts == ("[CLS]", "a", "good", "movie", "[SEP]")
    assert tokens.input_ids.tolist() == [TOKENS.index(t) for t in tokens.texts]


def test_offsets_count_code_points() -> None:
    text = "😀é good"
    tokens = TOKENIZER.tokenize(TextInput(text=text), truncate=False, where="it")
    start, end = tokens.offsets[tokens.texts.index("good")]
    assert text[start:end] == "good"


def test_the_longer_text_of_a_pair_is_cut_first() -> None:
    pair = TextInput(text="a " * 30, text_pair="good movie")
    tokens = TOKENIZER.tokenize(pair, truncate=True, where="it")
    assert len(tokens.texts) == MAX_TOKENS
    assert tokens.texts[-3:] == ("good", "movie", "[SEP]")
    assert tokens.is_truncated


def test_a_question_keeps_its_end_and_loses_only_context() -> None:
    tokenizer = TextTokenizer(tiny_tokenizer(), max_tokens=MAX_TOKENS, keeps_first=True)
    pair = TextInput(text="a good movie , a fun", text_pair="bad " * 20)
    tokens = tokenizer.tokenize(pair, truncate=True, where="it")
    assert tokens.texts[1:8] == (*pair.text.split(), "[SEP]")
    assert tokens.texts[8:] == ("bad", "bad", "bad", "[SEP]")
    long = TextInput(text="a " * 10, text_pair="bad")
    with pytest.raises(InputTooLong, match="has 13 tokens before any of its text_pair"):
        tokenizer.tokenize(long, truncate=True, where="it")


def test_threads_may_cut_and_not_cut_at_the_same_time() -> None:
    barrier = threading.Barrier(4)

    def encode(place: int) -> list[int]:
        barrier.wait()
        return [
            len(
                TOKENIZER.tokenize(
                    TextInput(text="a " * (1 + 30 * (place % 2))),
                    truncate=True,
                    where="it",
                ).texts
            )
            for _ in range(200)
        ]

    with ThreadPoolExecutor(4) as threads:
        lengths = list(threads.map(encode, range(4)))
    assert lengths == [[3] * 200, [MAX_TOKENS] * 200] * 2


@given(st.text(max_size=40))
def test_any_text_is_tokenized_or_refused(text: str) -> None:
    inputs = [TextInput(text=text)]
    try:
        check_inputs(inputs, EngineLimits(), takes_pairs=False)
        tokens = TOKENIZER.tokenize(inputs[0], truncate=True, where="it")
    except InvalidInput:
        return
    assert 3 <= len(tokens.texts) <= MAX_TOKENS
    assert (tokens.offsets <= len(text)).all()
    assert ((tokens.word_index < 0) == tokens.is_special).all()


WORDS = st.sampled_from(["A", "funny", "naïve", "😀", "été", ",", "zebra", "映画"])
# SentencePiece's own normaliser makes a space of every other white space first.
SPACES = st.sampled_from([" ", "  ", "   ", "\u3000"])


@pytest.mark.parametrize("kind", VOCABULARIES)
@given(words=st.lists(WORDS, min_size=1), space=SPACES, edge=st.booleans())
def test_every_vocabulary_gives_the_words_as_written(
    kind: str, words: list[str], space: str, *, edge: bool
) -> None:
    tokenizer = TextTokenizer(VOCABULARIES[kind], max_tokens=10_000)
    text = space.join(words)
    text = f" {text} " if edge else text
    pair = TextInput(text=text, text_pair="funny  movie")
    tokens = tokenizer.tokenize(pair, truncate=False, where="it")
    units = group_words(pair, tokens).units
    assert list(units.texts) == [*words, "funny", "movie"]
    assert units.segments.tolist() == [0] * len(words) + [1, 1]
