import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.racu import racu

RATIOS = np.array([0.0, 0.5, 1.0])
RANDOM = np.array([1.0, 0.75, 0.5])


def test_relative_area_worked_by_hand() -> None:
    value = racu(
        ratios=RATIOS, performance=np.array([1.0, 0.5, 0.5]), random_performance=RANDOM
    )
    # Between the curves lies a triangle of base 1 and height 1/4; under the random one,
    # down to 1/2, one of base 1 and height 1/2.
    assert value == pytest.approx((1 / 8) / (1 / 4))


def test_random_order_gains_nothing_and_worse_order_loses() -> None:
    assert racu(ratios=RATIOS, performance=RANDOM, random_performance=RANDOM) == 0.0
    worse = np.array([1.0, 1.0, 0.5])
    assert racu(
        ratios=RATIOS, performance=worse, random_performance=RANDOM
    ) == pytest.approx(-0.5)


def test_uneven_steps_count_by_their_width() -> None:
    ratios = np.array([0.0, 0.25, 1.0])
    value = racu(
        ratios=ratios, performance=np.array([1.0, 0.5, 0.5]), random_performance=RANDOM
    )
    # 1/4 (0 + 1/4) / 2 + 3/4 (1/4 + 0) / 2 = 1/8 over
    # 1/4 (1/2 + 1/4) / 2 + 3/4 (1/4 + 0) / 2 = 3/16
    assert value == pytest.approx(2 / 3)


def test_rounding_is_not_divided_by() -> None:
    ratios = np.array([0.0, 0.5, 1.0])
    flat = np.array([0.3, 0.30000000000000004, 0.3])
    worse = np.array([0.3, 0.29, 0.3])
    assert racu(ratios=ratios, performance=worse, random_performance=flat) is None


def test_model_that_masking_does_not_hurt_has_no_racu() -> None:
    flat = np.full(3, 0.5)
    assert racu(ratios=RATIOS, performance=flat, random_performance=flat) is None


@pytest.mark.parametrize(
    "ratios",
    [
        np.array([0.0, 0.5, 0.9]),
        np.array([0.1, 0.5, 1.0]),
        np.array([0.0, 0.0, 1.0]),
        np.array([0.0, 1.0]),
        np.array([0.0, np.nan, 1.0]),
    ],
)
def test_ratios_must_rise_from_nothing_to_all(ratios: NDArray[np.float64]) -> None:
    with pytest.raises(MetricError, match="ratios"):
        racu(ratios=ratios, performance=RANDOM, random_performance=RANDOM)
