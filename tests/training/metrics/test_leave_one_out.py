import numpy as np
import pytest

from diffmask_training.errors import MetricError
from diffmask_training.metrics.leave_one_out import leave_one_out, tau_loo
from tests.support.closed_form import additive, logistic


def test_drops_are_those_of_single_tokens() -> None:
    drops = np.array([0.5, -0.125, 0.25])
    model = additive(drops, whole=0.75)
    assert leave_one_out(model, 3) == pytest.approx(drops)


def test_tau_of_a_case_worked_by_hand() -> None:
    # Of six pairs, only (1, 2) is in the wrong order: (5 - 1) / 6.
    scores, drops = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 4.0])
    assert tau_loo(scores, drops) == pytest.approx(4 / 6)


def test_tau_allows_for_ties() -> None:
    # Of three pairs one is tied in the scores: 2 / sqrt(2 * 3).
    scores, drops = np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert tau_loo(scores, drops) == pytest.approx(2 / np.sqrt(6))


def test_tau_equals_that_of_ferret() -> None:
    # Recorded from ferret 0.4.2; see the same model in test_erasure.py.
    model = logistic(np.array([0.9, -0.4, 1.7, 0.2, -1.1, 0.6, 0.3]), bias=-0.5)
    scores = np.array([0.5, 0.1, 0.9, -0.2, 0.05, 0.3, 0.7])
    tau = tau_loo(scores, leave_one_out(model, 7))
    assert tau == pytest.approx(0.6190476190476191)


def test_constant_scores_have_no_tau() -> None:
    assert tau_loo(np.ones(3), np.arange(3.0)) is None
    assert tau_loo(np.arange(3.0), np.zeros(3)) is None
    assert tau_loo(np.ones(1), np.ones(1)) is None


def test_scores_and_drops_must_match() -> None:
    with pytest.raises(MetricError, match="scores of 2 and of 3 tokens"):
        tau_loo(np.ones(2), np.ones(3))
