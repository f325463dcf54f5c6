import numpy as np
import pytest

from diffmask_training.experiments.sentiment.masks import (
    ProbeRun,
    batch_averaged_f1,
    faithfulness,
    seed_spread,
)


def _run(*keep: list[list[float]]) -> ProbeRun:
    arrays = tuple(np.array(k, dtype=np.float32) for k in keep)
    return ProbeRun(
        predicted=np.array([0, 1, 1]),
        masked=np.array([[0, 1, 1], [0, 0, 0]]),
        keep_probability=arrays,
    )


def test_spread_is_the_mean_over_gates_of_their_standard_deviation() -> None:
    # Two runs; deviations from the mean of 0.1 and 0.3 times sqrt(2), none elsewhere.
    first = _run([[0.2, 0.5], [0.2, 0.5]], [[1.0], [0.0]])
    second = _run([[0.4, 0.5], [0.8, 0.5]], [[1.0], [0.0]])
    expected = (0.1 + 0.3) * 2**0.5 / 6
    assert seed_spread([first, second]) == pytest.approx(expected)


def test_faithfulness_is_a_mean_over_states() -> None:
    run = _run([[0.9, 0.1], [0.2, 0.1]], [[0.6], [0.4]])
    figures = faithfulness(run, np.array([0, 1, 0]))
    # One state keeps all three predictions, the other only the first.
    assert figures["agreement"] == pytest.approx((1 + 1 / 3) / 2)
    # Kept: 0.9 and 0.6 among six gates.
    assert figures["masked_share"] == pytest.approx(4 / 6)
    assert figures["accuracy"] == pytest.approx(2 / 3)


def test_batch_averaged_f1_by_hand() -> None:
    predicted = np.array([0, 0, 2, 1])
    labels = np.array([0, 1, 2, 2])
    # First batch, classes 0 and 1: F1 2/3, and 0 for what is never predicted. Second,
    # classes 0, 1, 2: 0 is neither (recall 1, precision 0), 1 is predicted wrongly
    # (recall 1, precision 0), 2 has precision 1 and recall 1/2.
    expected = ((2 / 3 + 0) / 2 + (0 + 0 + 2 / 3) / 3) / 2
    found = batch_averaged_f1(predicted, labels, batch_size=2)
    assert found == pytest.approx(expected)
