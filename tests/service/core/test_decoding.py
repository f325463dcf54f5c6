import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.decoding import (
    Decoder,
    LabelDecoder,
    LabelSetDecoder,
    Reading,
    SpanDecoder,
    TagsDecoder,
    ValueDecoder,
)
from diffmask_service.core.values import TextInput, TokenizedText
from tests.support.tokens import tokenized

LABEL = LabelDecoder(labels=("no", "yes"))
LABEL_SET = LabelSetDecoder(labels=("joy", "love", "fear"))
VALUE = ValueDecoder(scale=2.0, tolerance=0.5)
TAGS = TagsDecoder(labels=("O", "PER"))
SPAN = SpanDecoder(max_answer_tokens=2)
SENTENCE = TextInput(text="ada sings")
# [CLS] ad ##a sings [SEP]
WORDS = tokenized((("ad", "a"), ("sings",)))
QUESTION = TextInput(text="who ?", text_pair="ada sings")
# [CLS] who ? [SEP] ad ##a sings [SEP]
PAIR = tokenized((("who",), ("?",)), (("ad", "a"), ("sings",)))


def read(
    numbers: Any,
    text: TextInput = SENTENCE,
    tokens: TokenizedText = WORDS,
) -> Reading:
    return Reading(
        logits=np.array(numbers, dtype=np.float32), text=text, tokenized=tokens
    )


def read_span(starts: Sequence[float], ends: Sequence[float]) -> Reading:
    return read(np.transpose([starts, ends]), QUESTION, PAIR)


def coin(chance: float, other: float) -> float:
    """Return the divergence of two coins by its definition."""
    pairs = ((chance, other), (1 - chance, 1 - other))
    return sum(p * math.log(p / q) for p, q in pairs)


def test_probabilities_are_the_softmax() -> None:
    prediction = LABEL.decode(read([0.0, math.log(3.0)]))
    assert prediction.label == "yes"
    assert prediction.label_index == 1
    assert prediction.probabilities.tolist() == pytest.approx([0.25, 0.75])
    assert prediction.probabilities.dtype == np.float32


def test_large_logits_do_not_overflow() -> None:
    prediction = LABEL.decode(read([1e30, -1e30]))
    assert prediction.probabilities.tolist() == [1.0, 0.0]
    several = LABEL_SET.decode(read([1e30, -1e30, 0.0]))
    assert several.probabilities.tolist() == [1.0, 0.0, 0.5]


def test_divergence_of_labels_is_the_closed_form() -> None:
    full, masked = read([0.0, math.log(3.0)]), read([0.0, 0.0])
    assert LABEL.divergence(full, masked) == pytest.approx(coin(0.25, 0.5), rel=1e-6)


def test_divergence_of_confident_models_keeps_its_tail() -> None:
    # KL is then the difference of the logits times a probability of nearly one.
    found = LABEL.divergence(read([60.0, 0.0]), read([0.0, 60.0]))
    assert found == pytest.approx(60.0)


def test_every_label_from_a_half_up_holds() -> None:
    prediction = LABEL_SET.decode(read([math.log(3.0), -0.001, 0.0]))
    assert prediction.labels == ("joy", "fear")
    assert prediction.label_indices == (0, 2)
    assert prediction.probabilities[0] == pytest.approx(0.75)


def test_divergence_of_several_labels_is_the_sum_of_coins() -> None:
    full, masked = read([math.log(3.0), 0.0, 5.0]), read([0.0, -math.log(4.0), 5.0])
    expected = coin(0.75, 0.5) + coin(0.5, 0.2)
    assert LABEL_SET.divergence(full, masked) == pytest.approx(expected, rel=1e-6)


def test_one_label_more_is_no_agreement() -> None:
    assert LABEL_SET.agrees(read([1.0, -1.0, -1.0]), read([0.5, -9.0, -0.1]))
    assert not LABEL_SET.agrees(read([1.0, -1.0, -1.0]), read([1.0, 1.0, -1.0]))


def test_a_value_is_as_it_is_put_out() -> None:
    assert VALUE.decode(read([3.25])).value == 3.25


def test_divergence_of_values_is_that_of_two_normal_distributions() -> None:
    # Half of the square of 3 / 2, the change in standard deviations.
    assert VALUE.divergence(read([1.0]), read([-2.0])) == pytest.approx(1.125)


def test_a_value_agrees_up_to_the_tolerance() -> None:
    assert VALUE.agrees(read([1.0]), read([1.5]))
    assert not VALUE.agrees(read([1.0]), read([1.75]))


def test_a_word_has_the_label_of_its_first_token() -> None:
    prediction = TAGS.decode(read([[9, 0], [0, 1], [9, 0], [1, 0], [9, 0]]))
    assert prediction.words.texts == ("ada", "sings")
    assert prediction.words.starts.tolist() == [0, 4]
    assert prediction.labels == ("PER", "O")
    assert prediction.label_indices.tolist() == [1, 0]
    sure = 1 / (1 + math.exp(-1))
    assert prediction.probabilities[0].tolist() == pytest.approx([1 - sure, sure])
    assert prediction.probabilities[1].tolist() == pytest.approx([sure, 1 - sure])


def test_a_text_without_a_word_stays_the_same_under_every_mask() -> None:
    blank = read(np.zeros((3, 2)), TextInput(text=" "), tokenized((("",),)))
    assert TAGS.decode(blank).labels == ()
    assert TAGS.divergence(blank, blank) == 0.0
    assert TAGS.agrees(blank, blank)


def test_divergence_of_words_is_the_mean_over_their_first_tokens() -> None:
    full = read([[0, 0], [0, math.log(3)], [7, 7], [0, 0], [0, 0]])
    masked = read([[9, 0], [0, 0], [0, 9], [0, 0], [0, 9]])
    expected = coin(0.25, 0.5) / 2
    assert TAGS.divergence(full, masked) == pytest.approx(expected, rel=1e-6)


def test_one_word_of_another_label_is_no_agreement() -> None:
    full = read([[0, 0], [0, 1], [0, 1], [1, 0], [0, 0]])
    assert TAGS.agrees(full, read([[9, 0], [0, 1], [1, 0], [1, 0], [0, 0]]))
    assert not TAGS.agrees(full, read([[0, 0], [0, 1], [0, 1], [0, 1], [0, 0]]))


def test_an_answer_is_the_best_span_of_the_context() -> None:
    # The question's tokens have the largest logits, and no say.
    reading = read_span([9, 9, 9, 9, 2, 1, 0, 9], [9, 9, 9, 9, 0, 3, 1, 9])
    prediction = SPAN.decode(reading)
    assert prediction.text == "ada"
    assert (prediction.start, prediction.end) == (0, 3)


def test_an_answer_has_no_blank_before_it() -> None:
    offsets = PAIR.offsets.copy()
    offsets[6, 0] = 3  # as vocabularies have it that count the blank to the word
    tokens = replace(PAIR, offsets=offsets)
    logits = np.zeros((8, 2))
    logits[6] = 5
    prediction = SPAN.decode(read(logits, QUESTION, tokens))
    assert prediction.text == "sings"
    assert (prediction.start, prediction.end) == (4, 9)


def test_probability_of_an_answer_is_that_of_its_start_and_end_among_all() -> None:
    prediction = SPAN.decode(read_span([0, 0, 0, 0, math.log(2), 0, 0, 0], [0] * 8))
    assert prediction.text == "ad"
    assert prediction.probability == pytest.approx(2 / 9 / 8)


def test_an_answer_neither_ends_before_its_start_nor_is_too_long() -> None:
    starts, ends = [0, 0, 0, 0, 5, 0, 4, 0], [0, 0, 0, 0, 0, 0, 5, 0]
    # Tokens 4 to 6 sum to 10, but are three; 6 alone sums to 9.
    assert SPAN.decode(read_span(starts, ends)).text == "sings"
    longer = SpanDecoder(max_answer_tokens=3)
    assert longer.decode(read_span(starts, ends)).text == "ada sings"
    backwards = read_span([0, 0, 0, 0, 0, 0, 6, 0], [0, 0, 0, 0, 6, 0, 1, 0])
    assert longer.decode(backwards).text == "sings"


# The best span of the context, tokens 4 to 5, sums to 5, the first token to 6.
UNDECIDED = ([3.0, 0, 0, 0, 3, 0, 0, 0], [3.0, 0, 0, 0, 0, 2, 0, 0])


def test_no_answer_wins_by_its_threshold() -> None:
    reading = read_span(*UNDECIDED)
    said = replace(SPAN, no_answer_threshold=0.5).decode(reading)
    assert (said.no_answer, said.text, said.start, said.end) == (True, "", 0, 0)
    # e^3 among e^3 twice and six ones; e^3 among e^3, e^2 and six ones.
    start = math.exp(3) / (2 * math.exp(3) + 6)
    end = math.exp(3) / (math.exp(3) + math.exp(2) + 6)
    assert said.probability == pytest.approx(start * end)
    for threshold in (1.0, None):
        said = replace(SPAN, no_answer_threshold=threshold).decode(reading)
        assert (said.no_answer, said.text) == (False, "ada")


def test_no_answer_agrees_with_no_answer_alone() -> None:
    decoder = replace(SPAN, no_answer_threshold=0.5)
    none, sure = read_span(*UNDECIDED), read_span([0, 0, 0, 0, 1, 0, 0, 0], [0] * 8)
    assert decoder.agrees(none, read_span([9.0] + [0] * 7, [9.0] + [0] * 7))
    assert not decoder.agrees(none, sure)
    assert not decoder.agrees(sure, none)


def test_divergence_of_spans_is_that_of_start_and_end_over_all_tokens() -> None:
    full = read_span([0, math.log(9), 0, 0, 0, 0, 0, 0], [0] * 8)
    masked = read_span([0] * 8, [0] * 8)
    # One token of nine sixteenths, seven of one sixteenth each, against eighths.
    expected = 9 / 16 * math.log(9 / 2) + 7 / 16 * math.log(1 / 2)
    assert SPAN.divergence(full, masked) == pytest.approx(expected, rel=1e-6)
    assert SPAN.divergence(masked, full) > 0


def test_another_span_is_no_agreement() -> None:
    full = read_span([0, 0, 0, 0, 1, 0, 0, 0], [0] * 8)
    assert SPAN.agrees(full, read_span([0, 0, 0, 0, 3, 0, 0, 0], [0] * 8))
    assert not SPAN.agrees(full, read_span([0, 0, 0, 0, 0, 0, 1, 0], [0] * 8))


@pytest.mark.parametrize("decoder", [LABEL, LABEL_SET])
@given(
    st.integers(2, 2).flatmap(
        lambda size: st.tuples(
            *[st.lists(st.floats(-50, 50, width=32), min_size=size, max_size=size)] * 2
        )
    )
)
def test_divergence_is_not_negative_and_nil_from_itself(
    decoder: Decoder, case: tuple[list[float], list[float]]
) -> None:
    full, masked = read(case[0]), read(case[1])
    assert decoder.divergence(full, masked) >= 0
    assert decoder.divergence(full, full) == 0
