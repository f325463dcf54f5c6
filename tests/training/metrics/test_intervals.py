import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap

from diffmask_training.errors import MetricError
from diffmask_training.metrics.erasure import comprehensiveness, erase
from diffmask_training.metrics.intervals import (
    compare,
    estimate,
    estimate_over_texts,
    random_control,
)
from tests.support.closed_form import additive


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_interval_of_a_case_worked_by_hand() -> None:
    # A resample of {0, 1} has mean 0, 1/2, 1 with chances 1/4, 1/2, 1/4: at 40 % both
    # ends are 1/2, at 95 % they are 0 and 1.
    wide = estimate([0.0, 1.0], generator=_generator())
    assert (wide.mean, wide.low, wide.high) == (0.5, 0.0, 1.0)
    narrow = estimate([0.0, 1.0], generator=_generator(), confidence=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_interval_is_that_of_the_normal_limit() -> None:
    values = _generator().normal(2.0, 1.0, size=400)
    found = estimate(values.tolist(), generator=_generator())
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)


def test_blocks_of_resamples_give_a_percentile_interval() -> None:
    values = _generator().uniform(size=3000)
    found = estimate(values.tolist(), generator=_generator(), resamples=2000)
    whole = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=2000, rng=_generator()
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((whole.low, whole.high), abs=1e-3)


def test_equal_seeds_give_equal_intervals() -> None:
    values = [0.1, 0.4, 0.5, 0.9, 0.2, 0.7, 0.3]
    first = estimate(values, generator=np.random.default_rng(1), resamples=99)
    again = estimate(values, generator=np.random.default_rng(1), resamples=99)
    other = estimate(values, generator=np.random.default_rng(2), resamples=99)
    assert first == again
    assert first != other


def test_undefined_values_are_left_out_and_counted() -> None:
    found = estimate([1.0, None, 3.0, None, None], generator=_generator())
    assert found.mean == 2.0
    assert (found.num_texts, found.num_undefined) == (2, 3)


def test_constant_values_have_an_interval_of_no_width() -> None:
    found = estimate([0.25, 0.25, 0.25], generator=_generator())
    assert (found.low, found.high) == (0.25, 0.25)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, None], [1.0, np.nan]])
def test_interval_needs_two_finite_values(values: list[float | None]) -> None:
    with pytest.raises(MetricError, match="two texts or more"):
        estimate(values, generator=_generator())


def test_control_is_the_mean_over_random_orders() -> None:
    drops = np.array([0.5, 0.25, 0.0])
    model = additive(drops, whole=1.0)

    def top_drop(scores: NDArray[np.float64]) -> float:
        return float(comprehensiveness(erase(model, scores, counts=[1]))[0])

    control = random_control(top_drop, drops, draws=3000, generator=_generator())
    # One of three tokens is on top: (1/2 + 1/4 + 0) / 3.
    assert control == pytest.approx(0.25, abs=0.01)
    assert top_drop(drops) == 0.5


def test_equal_scores_are_their_own_control() -> None:
    model = additive(np.array([0.5, 0.25, 0.0]), whole=1.0)

    def top_drop(scores: NDArray[np.float64]) -> float:
        return float(comprehensiveness(erase(model, scores, counts=[1]))[0])

    equal = np.ones(3)
    control = random_control(top_drop, equal, draws=5, generator=_generator())
    assert control == top_drop(equal) == 0.5


def test_undefined_control_is_none() -> None:
    scores = np.arange(3.0)
    assert (
        random_control(lambda _: None, scores, draws=3, generator=_generator()) is None
    )


def test_comparison_pairs_texts() -> None:
    found = compare(
        [1.0, 2.0, None, 4.0], [0.5, 1.5, 9.0, None], generator=_generator()
    )
    assert found.score.mean == 1.5
    assert found.control.mean == 1.0
    # Every pair differs by the same, whatever the texts.
    assert (found.gain.mean, found.gain.low, found.gain.high) == (0.5, 0.5, 0.5)
    assert found.gain.num_undefined == found.score.num_undefined == 2


def test_interval_of_a_mean_is_that_of_its_texts() -> None:
    values = np.random.default_rng(1).normal(size=200)
    of_texts = estimate(values.tolist(), generator=np.random.default_rng(0))
    of_all = estimate_over_texts(
        lambda weights: weights @ values / weights.sum(axis=1),
        len(values),
        generator=np.random.default_rng(0),
        resamples=4000,
    )
    assert of_all.mean == pytest.approx(of_texts.mean)
    assert of_all.low == pytest.approx(of_texts.low, abs=0.02)
    assert of_all.high == pytest.approx(of_texts.high, abs=0.02)


@pytest.mark.parametrize(("num_texts", "value"), [(1, 0.5), (5, float("nan"))])
def test_figure_of_too_few_texts_has_no_interval(num_texts: int, value: float) -> None:
    with pytest.raises(MetricError, match="two texts or more"):
        estimate_over_texts(
            lambda weights: np.full(len(weights), value),
            num_texts,
            generator=_generator(),
        )


def test_resamples_that_leave_a_figure_undefined_are_passed_over() -> None:
    # Defined where the first of two texts is drawn: in one half or whole of the mean.
    values = np.array([1.0, 0.0])
    found = estimate_over_texts(
        lambda weights: np.where(weights[:, 0] > 0, weights @ values / 2, np.nan),
        2,
        generator=_generator(),
    )
    assert (found.mean, found.low, found.high) == (0.5, 0.5, 1.0)
