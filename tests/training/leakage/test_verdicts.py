import pytest

from diffmask_training.leakage.verdicts import Verdict, judge
from diffmask_training.metrics.intervals import Estimate


@pytest.mark.parametrize(
    ("mean", "low", "verdict"),
    [(0.05, -0.1, "pass"), (0.2, 0.05, "unsure"), (0.2, 0.11, "leak")],
)
def test_leak_is_what_lies_over_the_threshold_whole(
    mean: float, low: float, verdict: Verdict
) -> None:
    figure = Estimate(mean=mean, low=low, high=0.5, num_texts=9, num_undefined=0)
    assert judge(figure, 0.1) == verdict
