"""Tokens that came without a text."""

import numpy as np

from diffmask_service.core.spelling import spelled_offsets, spelled_text
from diffmask_service.core.values import TokenizedText

TOKENS = ("[CLS]", "a", "fun", "##ny", "[SEP]", "movie", "[SEP]")
SEGMENTS = np.array([0, 0, 0, 0, 0, 1, 0])
IS_SPECIAL = np.array([True, False, False, False, True, False, True])


def spelled() -> TokenizedText:
    return TokenizedText(
        input_ids=np.arange(7),
        token_type_ids=np.zeros(7, dtype=np.int64),
        texts=TOKENS,
        offsets=spelled_offsets(TOKENS, SEGMENTS, IS_SPECIAL),
        segments=SEGMENTS,
        word_index=np.arange(7),
        is_special=IS_SPECIAL,
        is_truncated=False,
    )


def test_tokens_stand_side_by_side_in_their_text() -> None:
    text = spelled_text(spelled())
    assert (text.text, text.text_pair) == ("a fun ##ny", "movie")


def test_offsets_cut_each_token_out_of_its_text() -> None:
    tokenized = spelled()
    text = spelled_text(tokenized)
    sources = (text.text, text.text_pair or "")
    cut = [
        sources[segment][start:end]
        for segment, (start, end) in zip(SEGMENTS, tokenized.offsets, strict=True)
    ]
    assert cut == ["", "a", "fun", "##ny", "", "movie", ""]


def test_a_single_text_has_no_pair() -> None:
    tokenized = TokenizedText(
        input_ids=np.array([5]),
        token_type_ids=np.array([0]),
        texts=("good",),
        offsets=np.array([[0, 4]]),
        segments=np.array([0]),
        word_index=np.array([0]),
        is_special=np.array([False]),
        is_truncated=False,
    )
    assert spelled_text(tokenized).text_pair is None
