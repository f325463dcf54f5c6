import numpy as np
import pytest

from diffmask_training.faithfulness.orders import (
    RATIOS,
    order_figures,
    under_removal,
)
from diffmask_training.metrics.probabilities import Predict
from tests.support.closed_form import logistic

WEIGHTS = np.array([2.0, -0.5, 1.0, 0.25, 0.0])


@pytest.fixture
def predict() -> Predict:
    return logistic(WEIGHTS)


def test_best_order_of_a_linear_model_reaches_every_limit(predict: Predict) -> None:
    text = under_removal(predict, len(WEIGHTS), naopc_max_words=5)
    values = order_figures(text, WEIGHTS).values
    assert values["tau_loo"] == pytest.approx(1.0)
    assert values["naopc_comprehensiveness"] == pytest.approx(1.0)
    assert values["naopc_sufficiency"] == pytest.approx(0.0)


def test_worst_order_is_the_mirror_image(predict: Predict) -> None:
    text = under_removal(predict, len(WEIGHTS), naopc_max_words=5)
    values = order_figures(text, -WEIGHTS).values
    assert values["tau_loo"] == pytest.approx(-1.0)
    assert values["naopc_comprehensiveness"] == pytest.approx(0.0)
    assert values["naopc_sufficiency"] == pytest.approx(1.0)


def test_figures_at_a_fifth_are_those_of_one_word_of_five(predict: Predict) -> None:
    def chance(*words: int) -> float:
        keep = np.isin(np.arange(len(WEIGHTS)), words)
        return float(predict(keep[None])[0, 1])

    text = under_removal(predict, len(WEIGHTS), naopc_max_words=0)
    figures = order_figures(text, WEIGHTS)
    whole, without, only = chance(0, 1, 2, 3, 4), chance(1, 2, 3, 4), chance(0)
    values = figures.values
    assert values["comprehensiveness_top"] == pytest.approx(whole - without)
    assert values["sufficiency_top"] == pytest.approx(whole - only)
    assert values["log_odds"] == pytest.approx(np.log(without / whole))
    assert values["flipped_top"] == 0.0
    assert values["naopc_comprehensiveness"] is None
    assert figures.curve[0] == pytest.approx(whole)
    assert figures.curve[-1] == pytest.approx(chance())
    assert figures.curve.shape == RATIOS.shape


def test_single_word_is_no_trouble() -> None:
    text = under_removal(logistic(np.array([1.0])), 1, naopc_max_words=5)
    values = order_figures(text, np.array([0.3])).values
    assert values["tau_loo"] is None
    assert values["naopc_comprehensiveness"] is None
    assert values["normalised_sufficiency"] == pytest.approx(1.0)
