import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import entropy

from diffmask_training.errors import MetricError
from diffmask_training.metrics.probabilities import (
    checked_probabilities,
    divergence,
    log_probability,
    predicted,
)


def test_divergence_of_a_case_worked_by_hand() -> None:
    first, second = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    # 1/2 log 2 + 1/2 log(2/3) = 1/2 log(4/3)
    assert divergence(first, second) == pytest.approx([math.log(4 / 3) / 2])


def test_divergence_equals_that_of_scipy() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 5))
    theirs = entropy(rows[0], rows[1], axis=-1)
    assert divergence(rows[0], rows[1]) == pytest.approx(theirs)


def test_underflowed_probabilities_stay_finite() -> None:
    sure, opposite = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    # The smallest normal float32 is 2 to the power of -126.
    assert divergence(sure, opposite) == pytest.approx(126 * math.log(2))
    assert divergence(sure, sure) == 0.0
    assert log_probability(opposite)[0] == pytest.approx(-126 * math.log(2))


@pytest.mark.parametrize(
    "rows",
    [
        np.array([0.5, 0.5]),
        np.zeros((0, 2)),
        np.array([[0.5, 0.6]]),
        np.array([[1.5, -0.5]]),
        np.array([[math.nan, 1.0]]),
    ],
)
def test_what_is_no_probability_is_refused(rows: NDArray[np.float64]) -> None:
    with pytest.raises(MetricError, match="probabilities"):
        checked_probabilities(rows)


def test_model_must_answer_every_mask() -> None:
    with pytest.raises(MetricError, match=r"\[3, labels\], not \(1, 2\)"):
        predicted(lambda keep: np.array([[0.5, 0.5]]), np.ones((3, 2), dtype=np.bool_))
