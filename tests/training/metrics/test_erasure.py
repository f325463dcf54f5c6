import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_training.errors import MetricError
from diffmask_training.metrics.erasure import (
    Erasure,
    aopc,
    comprehensiveness,
    erase,
    is_flipped,
    log_odds,
    normalised_comprehensiveness,
    normalised_sufficiency,
    share_to_flip,
    sufficiency,
)
from diffmask_training.metrics.rankings import ERASER, FERRET
from tests.support.closed_form import logistic, table

# Token 1 carries the text, token 2 helps, token 0 does harm.
CHANCES = {
    (): 0.5,
    (0,): 0.25,
    (1,): 0.75,
    (2,): 0.625,
    (0, 1): 0.625,
    (0, 2): 0.375,
    (1, 2): 1.0,
    (0, 1, 2): 0.875,
}
SCORES = np.array([0.0, 0.9, 0.5])


def _worked(counts: tuple[int, ...] = (1, 2, 3)) -> Erasure:
    return erase(table(CHANCES), SCORES, counts=counts)


def test_erasure_of_a_case_worked_by_hand() -> None:
    erasure = _worked()
    assert erasure.label == 1
    assert erasure.whole == 0.875
    assert erasure.empty == 0.5
    # Without token 1, without 1 and 2, without all.
    assert erasure.without.tolist() == [0.375, 0.25, 0.5]
    # Token 1 alone, 1 and 2, the whole text.
    assert erasure.only.tolist() == [0.75, 1.0, 0.875]
    assert erasure.labels_without.tolist() == [0, 0, 0]


def test_comprehensiveness_and_sufficiency_worked_by_hand() -> None:
    erasure = _worked()
    assert comprehensiveness(erasure).tolist() == [0.5, 0.625, 0.375]
    assert sufficiency(erasure).tolist() == [0.125, -0.125, 0.0]
    assert aopc(comprehensiveness(erasure)) == pytest.approx(1.5 / 3)
    assert aopc(sufficiency(erasure)) == pytest.approx(0.0)


def test_normalised_figures_worked_by_hand() -> None:
    # All tokens are worth 0.875 - 0.5 = 0.375.
    erasure = _worked()
    comprehensive = normalised_comprehensiveness(erasure)
    sufficient = normalised_sufficiency(erasure)
    assert comprehensive is not None
    assert sufficient is not None
    assert comprehensive.tolist() == [1.0, 1.0, 1.0]  # 4/3 and 5/3 are clipped
    assert sufficient == pytest.approx([1 - 0.125 / 0.375, 1.0, 1.0])


def test_rationale_worse_than_nothing_is_not_sufficient_at_all() -> None:
    misleading = erase(table(CHANCES), -SCORES, counts=[1])
    sufficient = normalised_sufficiency(misleading)
    assert sufficient is not None
    assert sufficient.tolist() == [0.0]  # 1 - (0.875 - 0.25) / 0.375 is below


def test_normalised_figures_need_tokens_that_are_worth_something() -> None:
    indifferent = erase(logistic(np.zeros(3), bias=1.0), SCORES, counts=[1])
    assert normalised_comprehensiveness(indifferent) is None
    assert normalised_sufficiency(indifferent) is None
    assert comprehensiveness(indifferent).tolist() == [0.0]


def test_little_worth_is_worth_something() -> None:
    chances = {(): 0.75, (0,): 0.75 + 2**-8, (1,): 0.75, (0, 1): 0.75 + 2**-7}
    erasure = erase(table(chances), np.array([2.0, 1.0]), counts=[1])
    comprehensive = normalised_comprehensiveness(erasure)
    sufficient = normalised_sufficiency(erasure)
    assert comprehensive is not None
    assert sufficient is not None
    assert comprehensive.tolist() == [1.0]
    assert sufficient.tolist() == [0.5]


def test_log_odds_worked_by_hand() -> None:
    expected = [math.log(3 / 7), math.log(2 / 7), math.log(4 / 7)]
    assert log_odds(_worked()) == pytest.approx(expected)


def test_flip_is_the_smallest_share_that_changes_the_label() -> None:
    # Log-odds 2.5, then 1.5, 0.5, -0.5 and -1 as tokens go.
    falling = erase(
        logistic(np.array([1.0, 1.0, 1.0, 0.5]), bias=-1.0),
        np.array([4.0, 3.0, 2.0, 1.0]),
        counts=[1, 2, 3, 4],
    )
    assert is_flipped(falling).tolist() == [False, False, True, True]
    assert share_to_flip(falling) == 3 / 4


def test_label_that_never_changes_has_no_flip() -> None:
    erasure = erase(logistic(np.zeros(2), bias=1.0), np.ones(2), counts=[1, 2])
    assert share_to_flip(erasure) is None


def test_no_size_left_has_no_aopc() -> None:
    scores = np.array([-1.0, -1.0, -2.0])
    erasure = erase(table(CHANCES), scores, counts=FERRET.counts(scores))
    assert aopc(comprehensiveness(erasure)) is None
    assert share_to_flip(erasure) is None


def test_removing_nothing_costs_nothing() -> None:
    erasure = _worked(counts=(0,))
    assert comprehensiveness(erasure).tolist() == [0.0]
    assert erasure.only.tolist() == [erasure.empty]


@pytest.mark.parametrize("count", [-1, 4])
def test_sizes_must_fit_the_text(count: int) -> None:
    with pytest.raises(MetricError, match="cannot be removed"):
        _worked(counts=(count,))


def test_text_of_one_token_is_all_or_nothing() -> None:
    chances = {(): 0.25, (0,): 0.75}
    scores = np.array([0.3])
    erasure = erase(table(chances), scores, counts=ERASER.counts(scores))
    assert comprehensiveness(erasure).tolist() == [0.5]
    assert sufficiency(erasure).tolist() == [0.0]


def test_aopc_equals_that_of_ferret() -> None:
    # Recorded from ferret 0.4.2, which pins versions that cannot be installed beside
    # ours: its two evaluators, run on a tokenizer of seven words and this model. The
    # second pair has 1 added to all scores, so that none is left out as negative.
    model = logistic(np.array([0.9, -0.4, 1.7, 0.2, -1.1, 0.6, 0.3]), bias=-0.5)
    scores = np.array([0.5, 0.1, 0.9, -0.2, 0.05, 0.3, 0.7])
    recorded = {
        True: (0.5251585083798702, -0.021788056062112943),
        False: (0.516992159485363, -0.018675476624668237),
    }
    for is_positive_only, expected in recorded.items():
        thresholds = replace(FERRET, is_positive_only=is_positive_only)
        erasure = erase(model, scores, counts=thresholds.counts(scores))
        ours = aopc(comprehensiveness(erasure)), aopc(sufficiency(erasure))
        assert ours == pytest.approx(expected)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(-2, 2))
def test_figures_stay_within_their_bounds(weights: list[float], bias: float) -> None:
    scores = np.array(weights)
    counts = range(len(weights) + 1)
    erasure = erase(logistic(scores, bias), scores, counts=list(counts))
    assert np.all(np.abs(comprehensiveness(erasure)) <= 1)
    assert np.all(np.abs(sufficiency(erasure)) <= 1)
    for figure in (normalised_comprehensiveness, normalised_sufficiency):
        values = figure(erasure)
        assert values is None or np.all((values >= 0) & (values <= 1))


def test_removing_the_top_is_keeping_the_bottom() -> None:
    model = logistic(np.array([0.9, -0.4, 1.7, 0.2]), bias=-0.5)
    scores = np.array([4.0, 2.0, 3.0, 1.0])
    counts = [0, 1, 2, 3, 4]
    down = erase(model, scores, counts=counts)
    up = erase(model, -scores, counts=counts)
    assert down.without == pytest.approx(up.only[::-1])
