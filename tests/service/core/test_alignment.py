import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.alignment import (
    aggregate_scores,
    group_tokens,
    group_words,
    hard_mask,
    take_units,
    top_units,
)
from diffmask_service.core.predictions import Units
from diffmask_service.core.values import TextInput, TokenizedText


def tokenized(
    words: list[int],
    *,
    segments: list[int] | None = None,
    offsets: list[tuple[int, int]] | None = None,
) -> TokenizedText:
    """Tokens of the given words, a letter each; -1 stands for a special token."""
    n = len(words)
    return TokenizedText(
        input_ids=np.arange(n, dtype=np.int64),
        token_type_ids=np.zeros(n, dtype=np.int64),
        texts=tuple(f"t{i}" for i in range(n)),
        offsets=np.array(
            offsets or [(i, i + 1) for i in range(n)], dtype=np.int64
        ).reshape(-1, 2),
        segments=np.array(segments or [0] * n, dtype=np.int64),
        word_index=np.array(words, dtype=np.int64),
        is_special=np.array([word < 0 for word in words], dtype=np.bool_),
        is_truncated=False,
    )


def values(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(numbers, dtype=np.float32)


@st.composite
def texts_and_gates(
    draw: st.DrawFn,
) -> tuple[TokenizedText, np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    lengths = draw(st.lists(st.integers(1, 4), max_size=6))
    words = [-1, *(i for i, n in enumerate(lengths) for _ in range(n)), -1]
    gate = st.floats(0, 1, width=32)
    layers = draw(
        st.lists(
            st.lists(gate, min_size=len(words), max_size=len(words)),
            min_size=1,
            max_size=3,
        )
    )
    return tokenized(words), np.array(layers, dtype=np.float32)


def test_every_token_is_a_unit_of_its_own() -> None:
    grouping = group_tokens(tokenized([-1, 0, 0, -1]))
    gates = values(0.1, 0.2, 0.3, 0.4)
    assert grouping.units.texts == ("t0", "t1", "t2", "t3")
    assert grouping.pool(gates).tolist() == gates.tolist()


def test_words_are_cut_out_of_the_text_as_written() -> None:
    tokens = tokenized(
        [-1, 0, 1, 1, -1, 0, -1],
        segments=[0, 0, 0, 0, 0, 1, 0],
        offsets=[(0, 0), (0, 1), (2, 5), (5, 7), (0, 0), (1, 3), (0, 0)],
    )
    units = group_words(TextInput(text="É Funny", text_pair=" No"), tokens).units
    assert units.texts == ("É", "Funny", "No")
    assert units.starts.tolist() == [0, 2, 1]
    assert units.ends.tolist() == [1, 7, 3]
    assert units.segments.tolist() == [0, 0, 1]
    assert not units.is_special.any()


def test_equal_word_indices_of_a_pair_are_two_words() -> None:
    tokens = tokenized([-1, 0, 0, -1], segments=[0, 0, 1, 0])
    assert (
        len(group_words(TextInput(text="abcd", text_pair="efgh"), tokens).starts) == 2
    )


def test_a_word_has_the_maximum_of_its_tokens() -> None:
    grouping = group_words(TextInput(text="abcde"), tokenized([-1, 0, 1, 1, -1]))
    gates = np.stack([values(1.0, 0.1, 0.2, 0.3, 1.0), values(1.0, 0.5, 0.4, 0.3, 1.0)])
    assert (
        grouping.pool(gates).tolist()
        == np.stack([values(0.1, 0.3), values(0.5, 0.4)]).tolist()
    )


def test_white_space_belongs_to_no_word() -> None:
    tokens = tokenized(
        [0, 1, 2, 2, 3], offsets=[(0, 1), (1, 2), (2, 4), (4, 6), (6, 7)]
    )
    grouping = group_words(TextInput(text="a  goo x"), tokens)
    assert grouping.units.texts == ("a", "goo")
    assert grouping.units.starts.tolist() == [0, 3]
    assert grouping.units.ends.tolist() == [1, 6]
    pooled = grouping.pool(values(0.1, 0.9, 0.2, 0.3, 0.8))
    assert pooled.tolist() == values(0.1, 0.3).tolist()


def test_a_text_of_specials_alone_has_no_words() -> None:
    grouping = group_words(TextInput(text=""), tokenized([-1, -1]))
    assert grouping.pool(values(1.0, 1.0)).tolist() == []
    assert grouping.units.texts == ()


@given(texts_and_gates())
def test_word_gates_are_the_maxima_found_one_by_one(
    case: tuple[TokenizedText, np.ndarray[tuple[int, int], np.dtype[np.float32]]],
) -> None:
    tokens, gates = case
    pooled = group_words(TextInput(text="x" * 26), tokens).pool(gates)
    for word in range(pooled.shape[-1]):
        members = tokens.word_index == word
        assert pooled[:, word].tolist() == gates[:, members].max(axis=1).tolist()


def test_aggregate_score_is_the_mean_over_states() -> None:
    gates = np.stack([values(1.0, 0.5), values(0.5, 0.25), values(0.0, 0.0)])
    assert aggregate_scores(gates).tolist() == [0.5, 0.25]
    assert aggregate_scores(gates).dtype == np.float32


def test_hard_mask_keeps_the_threshold_itself() -> None:
    mask = hard_mask(values(0.49, 0.5, 0.51), threshold=0.5)
    assert mask.tolist() == [False, True, True]


def test_hard_mask_compares_in_float32() -> None:
    assert hard_mask(values(0.1), threshold=0.1).tolist() == [True]


def units_of(specials: list[bool]) -> Units:
    zeros = np.zeros(len(specials), dtype=np.int64)
    return Units(
        texts=tuple(f"u{i}" for i in range(len(specials))),
        starts=zeros,
        ends=zeros,
        segments=zeros,
        is_special=np.array(specials, dtype=np.bool_),
    )


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [3]), (2, [3, 1]), (3, [3, 1, 2]), (9, [3, 1, 2])]
)
def test_top_units_come_highest_first_without_specials(
    k: int, expected: list[int]
) -> None:
    scores = values(1.0, 0.5, 0.5, 0.75)
    chosen = top_units(scores, units_of([True, False, False, False]), k=k)
    assert chosen.tolist() == expected


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans())), st.integers(1, 9))
def test_no_unit_left_out_scores_higher(
    pairs: list[tuple[float, bool]], k: int
) -> None:
    scores = np.array([score for score, _ in pairs], dtype=np.float32)
    specials = [special for _, special in pairs]
    chosen = top_units(scores, units_of(specials), k=k).tolist()
    left = [i for i, special in enumerate(specials) if not special and i not in chosen]
    assert len(chosen) == min(k, len(pairs) - sum(specials))
    assert all(scores[i] <= min(scores[chosen]) for i in left)


def test_taken_units_keep_the_order_asked() -> None:
    taken = take_units(units_of([True, False, False]), np.array([2, 0]))
    assert taken.texts == ("u2", "u0")
    assert taken.is_special.tolist() == [False, True]
