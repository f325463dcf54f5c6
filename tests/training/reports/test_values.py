import pytest

from diffmask_training.metrics.intervals import Comparison, Estimate
from diffmask_training.reports.values import Standing, standing


def _estimate(low: float, high: float) -> Estimate:
    return Estimate(
        mean=(low + high) / 2, low=low, high=high, num_texts=9, num_undefined=0
    )


@pytest.mark.parametrize(
    ("low", "high", "is_higher_better", "expected"),
    [
        (0.1, 0.2, True, "better"),
        (0.1, 0.2, False, "worse"),
        (-0.2, -0.1, True, "worse"),
        (-0.2, -0.1, False, "better"),
        (-0.1, 0.1, True, "no different"),
        (0.0, 0.1, True, "no different"),
    ],
)
def test_standing_follows_the_interval_of_the_difference(
    low: float, high: float, expected: Standing, *, is_higher_better: bool
) -> None:
    comparison = Comparison(
        score=_estimate(0, 1), control=_estimate(0, 1), gain=_estimate(low, high)
    )
    assert standing(comparison, is_higher_better=is_higher_better) == expected
