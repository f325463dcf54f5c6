import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.similarity import (
    over_pairs,
    rank_correlation,
    shortcut_precision,
    top_jaccard,
)


def test_correlation_worked_by_hand() -> None:
    # Rank differences 0, 1, -1, 0: 1 - 6 * 2 / (4 * 15).
    scores, other = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 30.0, 20.0, 99.0])
    assert rank_correlation(scores, other) == pytest.approx(0.8)


def test_correlation_equals_that_of_quantus() -> None:
    # Recorded from quantus 0.6.0, similarity_func.correlation_spearman.
    scores = np.array([0.5, 0.1, 0.9, 0.2, 0.05, 0.3, 0.7])
    other = np.array([0.85, 0.3, 0.05, 0.2, 0.9, 0.1, 0.5])
    assert rank_correlation(scores, other) == pytest.approx(-0.4642857142857144)


def test_correlation_knows_only_the_order() -> None:
    scores = np.array([0.1, 0.9, 0.4, 0.6])
    assert rank_correlation(scores, np.exp(scores)) == pytest.approx(1.0)
    assert rank_correlation(scores, -scores) == pytest.approx(-1.0)


def test_constant_explanation_has_no_correlation() -> None:
    assert rank_correlation(np.ones(3), np.arange(3.0)) is None
    assert rank_correlation(np.arange(3.0), np.ones(3)) is None
    assert rank_correlation(np.ones(1), np.ones(1)) is None


def test_jaccard_worked_by_hand() -> None:
    scores, other = np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 1.0, 3.0, 2.0])
    # {0, 1} and {0, 2} share one of three.
    assert top_jaccard(scores, other, count=2) == pytest.approx(1 / 3)
    assert top_jaccard(scores, other, count=1) == 1.0
    assert top_jaccard(scores, other, count=9) == 1.0
    assert top_jaccard(scores, -scores, count=2) == 0.0


def test_jaccard_needs_a_top() -> None:
    with pytest.raises(MetricError, match="at least one token, not 0"):
        top_jaccard(np.ones(2), np.ones(2), count=0)


def test_pairs_of_seeds_are_averaged() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    # Of three pairs one agrees and two are reversed.
    assert over_pairs(rank_correlation, scores) == pytest.approx(-1 / 3)


def test_pairs_without_a_comparison_are_left_out() -> None:
    scores = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 1.0]])
    assert over_pairs(rank_correlation, scores) == pytest.approx(1.0)
    assert over_pairs(rank_correlation, np.ones((3, 2))) is None


@pytest.mark.parametrize("scores", [np.ones((1, 3)), np.ones(3)])
def test_one_seed_says_nothing_of_stability(scores: NDArray[np.float64]) -> None:
    with pytest.raises(MetricError, match="at least two seeds"):
        over_pairs(rank_correlation, scores)


def test_shortcuts_found_worked_by_hand() -> None:
    scores = np.array([0.1, 0.9, 0.8, 0.7])
    planted = np.array([False, True, False, True])
    assert shortcut_precision(scores, planted) == 1 / 2
    assert shortcut_precision(scores, scores > 0.75) == 1.0
    assert shortcut_precision(scores, scores < 0.5) == 0.0


def test_shortcut_must_have_been_planted() -> None:
    for planted in (np.zeros(2, dtype=np.bool_), np.ones(3, dtype=np.bool_)):
        with pytest.raises(MetricError, match="planted token"):
            shortcut_precision(np.ones(2), planted)
