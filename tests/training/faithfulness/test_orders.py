import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.faithfulness.orders import (
    RATIOS,
    Extent,
    order_figures,
    order_masks,
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
    assert figures.curve is not None
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


@pytest.mark.parametrize("extent", ["main", "all"])
def test_masks_of_an_order_are_all_that_its_figures_need(
    predict: Predict, extent: Extent
) -> None:
    asked: list[bytes] = []

    def watched(keep: NDArray[np.bool_]) -> NDArray[np.floating]:
        asked.extend(row.tobytes() for row in keep)
        return predict(keep)

    text = under_removal(watched, len(WEIGHTS), naopc_max_words=0, extent=extent)
    asked.clear()
    order_figures(text, WEIGHTS)
    assert {row.tobytes() for row in order_masks(text, WEIGHTS)} == set(asked)


def test_main_figures_need_no_run_but_their_order(predict: Predict) -> None:
    text = under_removal(predict, len(WEIGHTS), naopc_max_words=5, extent="main")
    assert text.drops is None
    assert text.limits is None
    # Whole and empty text; without and only the top 1 and 3 of five words.
    assert len(order_masks(text, WEIGHTS)) == 2 + 2 * 2
    assert "tau_loo" not in order_figures(text, WEIGHTS).values
