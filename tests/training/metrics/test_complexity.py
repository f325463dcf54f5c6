import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_training.errors import MetricError
from diffmask_training.metrics.complexity import (
    drop_layers,
    entropy,
    gini,
    kept_share,
)

SCORES = np.array([0.5, 0.1, 0.9, 0.2, 0.05, 0.3, 0.7])


def test_kept_share_leaves_out_padding() -> None:
    keep = np.array(
        [[[1, 1, 1], [1, 0, 1]], [[1, 1, 0], [0, 0, 0]]], dtype=np.bool_
    )  # [batch, layers, tokens]
    attention_mask = np.array([[1, 1, 0], [1, 1, 1]])
    # Of five real tokens, 2 + 2 are kept at the first layer, 1 + 0 at the second.
    assert kept_share(keep, attention_mask) == pytest.approx([4 / 5, 1 / 5])


def test_kept_share_needs_real_tokens() -> None:
    keep = np.ones((1, 2, 3), dtype=np.bool_)
    for attention_mask in (np.zeros((1, 3), dtype=int), np.ones((1, 2), dtype=int)):
        with pytest.raises(MetricError, match="real tokens"):
            kept_share(keep, attention_mask)


def test_gini_worked_by_hand() -> None:
    # Sorted 1, 2, 3 with weights -2, 0, 2: 4 / (3 * 6).
    assert gini(np.array([3.0, 1.0, 2.0])) == pytest.approx(4 / 18)
    assert gini(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(3 / 4)
    assert gini(np.full(5, 0.3)) == pytest.approx(0.0)
    assert gini(np.array([0.4])) == 0.0


def test_gini_is_half_the_relative_mean_difference() -> None:
    mean_difference = np.abs(SCORES[:, None] - SCORES).mean()
    assert gini(SCORES) == pytest.approx(mean_difference / (2 * SCORES.mean()))


def test_gini_equals_that_of_quantus() -> None:
    # Recorded from quantus 0.6.0, Sparseness, which adds 1e-7 to each score.
    assert gini(SCORES) == pytest.approx(0.42077911, abs=1e-6)


def test_entropy_worked_by_hand() -> None:
    assert entropy(np.array([2.0, 1.0, 1.0])) == pytest.approx(1.5 * math.log(2))
    assert entropy(np.full(4, 0.3)) == pytest.approx(math.log(4))
    assert entropy(np.array([0.0, 5.0])) == 0.0
    assert entropy(np.array([0.4])) == 0.0


def test_entropy_equals_that_of_quantus() -> None:
    # Recorded from quantus 0.6.0, Complexity.
    assert entropy(SCORES) == pytest.approx(1.64949003, abs=1e-7)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.01, 100))
def test_complexity_is_bounded_and_free_of_scale(
    values: list[float], factor: float
) -> None:
    scores = np.array(values)
    sparse, spread = gini(scores), entropy(scores)
    assert sparse is not None
    assert spread is not None
    assert -1e-9 <= sparse <= 1 - 1 / len(values) + 1e-9
    assert 0 <= spread <= math.log(len(values)) + 1e-9
    assert gini(factor * scores) == pytest.approx(sparse, abs=1e-9)
    assert entropy(factor * scores) == pytest.approx(spread, abs=1e-9)


def test_nothing_cannot_be_shared_out() -> None:
    assert gini(np.zeros(3)) is None
    assert entropy(np.zeros(3)) is None


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(MetricError, match=">= 0"):
        gini(np.array([1.0, -1.0]))
    with pytest.raises(MetricError, match=">= 0"):
        entropy(np.array([1.0, -1.0]))


def test_drop_layers_worked_by_hand() -> None:
    gates = np.array([[0.9, 0.8, 0.4], [0.9, 0.5, 0.2], [0.7, 0.1, 0.1]])
    # The first is never dropped, the second, at the threshold, not before layer 2.
    assert drop_layers(gates).tolist() == [3, 2, 0]
    assert drop_layers(gates).mean() == pytest.approx(5 / 3)
    assert drop_layers(gates, threshold=0.85).tolist() == [2, 0, 0]


def test_gates_must_be_finite_and_two_dimensional() -> None:
    for gates in (np.ones(3), np.zeros((0, 3)), np.full((2, 2), math.nan)):
        with pytest.raises(MetricError, match=r"finite \[layers, tokens\]"):
            drop_layers(gates)
