import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from diffmask_training.errors import MetricError
from diffmask_training.metrics.drift import ndcg, shift


def test_ndcg_of_the_case_in_clarifys_documentation() -> None:
    # Score, grades and rank of applicants; the order has turned round.
    reference, live = np.array([0.70, 0.50, 0.05]), np.array([0.10, 0.20, 0.70])
    middle = 0.50 / math.log2(3)
    expected = (0.05 + middle + 0.70 / 2) / (0.70 + middle + 0.05 / 2)
    assert ndcg(reference, live) == pytest.approx(expected)


def test_equal_order_is_no_drift() -> None:
    reference = np.array([0.1, 0.7, 0.2])
    assert ndcg(reference, reference**2) == 1.0
    assert ndcg(np.array([0.3]), np.array([0.9])) == 1.0


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)),
        min_size=2,
        max_size=12,
        unique_by=lambda pair: pair[1],
    )
)
def test_ndcg_equals_that_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    reference, live = np.array(pairs).T
    assert ndcg(reference, live) == pytest.approx(ndcg_score([reference], [live]))


def test_tied_live_attributions_keep_the_order_of_features() -> None:
    reference = np.array([0.7, 0.5, 0.1])
    assert ndcg(reference, np.ones(3)) == 1.0
    turned = ndcg(reference[::-1], np.ones(3))
    assert turned is not None
    assert turned < 1.0


def test_reference_of_nothing_has_no_ndcg() -> None:
    assert ndcg(np.zeros(2), np.ones(2)) is None


def test_attributions_must_be_gains_of_the_same_features() -> None:
    with pytest.raises(MetricError, match=">= 0"):
        ndcg(np.array([1.0, -0.5]), np.ones(2))
    with pytest.raises(MetricError, match=">= 0"):
        ndcg(np.ones(2), np.array([1.0, -0.5]))
    with pytest.raises(MetricError, match="scores of 2 and of 3"):
        ndcg(np.ones(2), np.ones(3))


def test_shift_worked_by_hand() -> None:
    # Up to 2 lie all of the first sample and a third of the second.
    found = shift(np.array([1.0, 2.0]), np.array([2.0, 3.0, 4.0]))
    assert found.statistic == pytest.approx(2 / 3)


def test_apart_samples_are_as_unlikely_as_can_be() -> None:
    # Of the 6 choose 3 ways to deal out six values, 2 keep the samples apart.
    found = shift(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    assert found.statistic == 1.0
    assert found.p_value == pytest.approx(2 / 20)


def test_equal_samples_show_no_shift() -> None:
    sample = np.array([0.1, 0.4, 0.4, 0.9])
    found = shift(sample, sample)
    assert (found.statistic, found.p_value) == (0.0, 1.0)


def test_samples_must_hold_finite_values() -> None:
    for bad in (np.zeros(0), np.array([math.nan])):
        with pytest.raises(MetricError, match="at least one text"):
            shift(np.ones(2), bad)
        with pytest.raises(MetricError, match="at least one text"):
            shift(bad, np.ones(2))
