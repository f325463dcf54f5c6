import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import (
    ERASER,
    FERRET,
    Thresholds,
    checked_pair,
    ranks,
    top_tokens,
)


def test_ranks_start_at_the_highest_score() -> None:
    assert ranks(np.array([0.1, 0.9, 0.5])).tolist() == [2, 0, 1]


def test_ties_go_to_the_first_token() -> None:
    assert ranks(np.array([0.5, 0.9, 0.5, 0.9])).tolist() == [2, 0, 3, 1]
    assert top_tokens(np.zeros(4), 2).tolist() == [True, True, False, False]


def test_ties_of_a_long_text_keep_its_order() -> None:
    scores = np.tile([0.5, 0.9], 50)
    assert ranks(scores)[1::2].tolist() == list(range(50))
    assert ranks(scores)[::2].tolist() == list(range(50, 100))


def test_top_of_more_than_all_is_all() -> None:
    assert top_tokens(np.array([1.0, 2.0]), 5).all()
    assert not top_tokens(np.array([1.0, 2.0]), 0).any()


def test_counts_round_up_and_skip_duplicates() -> None:
    # 10 tokens: 0.1, 0.5, 1, 2 and 5 of them.
    assert ERASER.counts(np.arange(10.0)) == (1, 2, 5)
    # 100 tokens: every share is a size of its own.
    assert ERASER.counts(np.arange(100.0)) == (1, 5, 10, 20, 50)


def test_counts_round_down_and_skip_nothing_at_all() -> None:
    # 3 tokens: 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4, 2.7 and 3 of them.
    assert FERRET.counts(np.array([3.0, 2.0, 1.0])) == (1, 2, 3)


def test_whole_numbers_survive_rounding() -> None:
    scores = np.ones(100)
    shares = (0.07, 0.29)
    assert Thresholds(shares=shares).counts(scores) == (7, 29)
    assert Thresholds(shares=shares, rounding="down").counts(scores) == (7, 29)


def test_only_positive_scores_are_taken_when_asked() -> None:
    assert FERRET.counts(np.array([0.0, 3.0, -1.0, 2.0])) == (1, 2)
    assert FERRET.counts(-np.ones(10)) == ()


def test_one_token_is_the_top_of_itself() -> None:
    assert ERASER.counts(np.array([0.3])) == (1,)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_ranks_are_a_permutation_in_order_of_the_scores(values: list[float]) -> None:
    scores = np.array(values)
    places = ranks(scores)
    assert sorted(places.tolist()) == list(range(len(values)))
    assert np.all(np.diff(scores[np.argsort(places)]) <= 0)


@pytest.mark.parametrize(
    "scores", [np.array([]), np.array([[1.0]]), np.array([1.0, math.nan])]
)
def test_unsound_scores_are_refused(scores: NDArray[np.float64]) -> None:
    with pytest.raises(MetricError, match="scores must be"):
        ranks(scores)


def test_scores_of_different_texts_are_no_pair() -> None:
    with pytest.raises(MetricError, match="scores of 2 and of 3 tokens"):
        checked_pair(np.ones(2), np.ones(3))
