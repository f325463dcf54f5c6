import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.mask_patterns import (
    NUM_EDGE_TOKENS,
    mask_features,
    pattern_predictions,
)


def _mask(*kept: int, num_tokens: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(num_tokens), kept)


def test_features_worked_by_hand() -> None:
    features = mask_features(_mask(0, 1, 4, num_tokens=5))
    shape, edges = features[:6], features[6:].reshape(2, NUM_EDGE_TOKENS)
    # 3 kept, 3/5 of all, 2 runs, longest 2, 3/2 on the mean, at (0 + 1 + 4) / 3 of 4.
    assert shape == pytest.approx([3, 3 / 5, 2, 2, 3 / 2, 5 / 12])
    assert edges[0].tolist() == [1, 1, 0, 0, 1, 0, 0, 0]
    assert edges[1].tolist() == [1, 0, 0, 1, 1, 0, 0, 0]


def test_edges_of_a_long_text_are_its_ends() -> None:
    features = mask_features(_mask(0, 10, 19, num_tokens=20))
    edges = features[6:].reshape(2, NUM_EDGE_TOKENS)
    assert edges.sum(axis=1).tolist() == [1, 1]


@pytest.mark.parametrize("num_tokens", [0, 1, 5])
def test_mask_that_keeps_nothing_has_no_features(num_tokens: int) -> None:
    assert not mask_features(_mask(num_tokens=num_tokens)).any()


def test_one_kept_token_is_a_run_in_first_place() -> None:
    assert mask_features(_mask(0, num_tokens=1))[:6].tolist() == [1, 1, 1, 1, 1, 0]


def test_masks_that_say_the_label_are_caught() -> None:
    # One token each, the first where the label is 1 and the fifth where it is 0.
    labels = np.array([0, 1, 1] * 20)
    masks = [_mask(place, num_tokens=9) for place in np.where(labels, 0, 4).tolist()]
    found = pattern_predictions(masks, labels, seed=0)
    assert found.tolist() == labels.tolist()


def test_masks_that_say_nothing_gain_nothing() -> None:
    labels = np.array([0, 1, 1] * 20)
    same = [_mask(2, 3, num_tokens=6)] * len(labels)
    # Without a difference between masks, the most frequent label is all there is.
    assert (pattern_predictions(same, labels, seed=0) == 1).all()


def test_labels_with_nothing_to_tell_are_refused() -> None:
    masks = [_mask(0, num_tokens=2)] * 10
    for labels in (np.zeros(10, dtype=int), np.array([1] + [0] * 9), np.arange(9)):
        with pytest.raises(MetricError, match="5 folds need two labels"):
            pattern_predictions(masks, labels, seed=0)
