import numpy as np
import pytest

from diffmask_training.errors import MetricError
from diffmask_training.metrics.classification import accuracy, macro_f1


def test_macro_f1_of_a_case_worked_by_hand() -> None:
    predicted, labels = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    # class 0: precision 1/2, recall 1/2; class 1: precision 2/3, recall 2/3.
    assert macro_f1(predicted, labels) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert accuracy(predicted, labels) == pytest.approx(3 / 5)


def test_class_never_predicted_rightly_scores_zero() -> None:
    assert macro_f1(np.array([0, 0]), np.array([0, 1])) == pytest.approx(1 / 3)


def test_no_texts_are_refused() -> None:
    nothing = np.array([], dtype=np.int64)
    for figure in (accuracy, macro_f1):
        with pytest.raises(MetricError, match="0 predictions and 0 labels"):
            figure(nothing, nothing)
