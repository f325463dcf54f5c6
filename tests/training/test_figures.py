import math

import numpy as np
import pytest

from diffmask_training.figures import Figures, MaskedRun, kl_divergence, summarise

LOGITS = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
MASKED = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])


def _summary(labels: list[int]) -> Figures:
    return summarise(
        states=("only",),
        labels=np.array(labels),
        num_tokens=np.array([4, 4, 4, 8]),
        logits=LOGITS,
        runs=[MaskedRun(logits=MASKED, num_kept=np.array([1, 1, 1, 2]))],
        margin=0.5,
    )


def test_figures_of_a_case_worked_by_hand() -> None:
    figures = _summary([0, 1, 0, 0])
    state = figures.states[0]
    sure = 1 / (1 + math.exp(-2))
    flipped = sure * math.log(sure / (1 - sure)) + (1 - sure) * math.log(
        (1 - sure) / sure
    )
    assert state.kept_share == 5 / 20
    assert state.agreement == 3 / 4
    assert state.divergence == pytest.approx(flipped / 4)
    assert state.excess == pytest.approx((flipped - 0.5) / 4)
    assert state.violation_rate == 1 / 4
    assert figures.accuracy == 3 / 4
    assert state.accuracy == 2 / 4
    assert figures.mean("kept_share") == 0.25
    assert figures.mean_if_labelled("accuracy") == 0.5


def test_unlabelled_texts_have_no_accuracy() -> None:
    figures = _summary([0, 1, -1, 0])
    assert figures.accuracy is None
    assert figures.states[0].macro_f1 is None
    assert figures.mean_if_labelled("macro_f1") is None


def test_divergence_is_finite_for_extreme_logits() -> None:
    left, right = np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]])
    assert kl_divergence(left, right)[0] == pytest.approx(1e4)
    assert kl_divergence(left, left)[0] == 0.0
