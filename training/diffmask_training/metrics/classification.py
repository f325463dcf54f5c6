"""Figures of predictions against labels."""

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError


def accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Return the share of equal entries, in [0, 1].

    Args:
        predicted: `[batch]` label indices.
        labels: `[batch]` label indices to compare with.

    Raises:
        MetricError: There are no texts, or not as many of either.
    """
    _check(predicted, labels)
    return float(np.mean(predicted == labels))


def macro_f1(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Return the unweighted mean over classes of F1, in [0, 1].

    Computed once over the whole data set. A class counts when it occurs in either
    array; one that is never predicted rightly scores 0.

    Args:
        predicted: `[batch]` label indices.
        labels: `[batch]` true label indices.

    Raises:
        MetricError: There are no texts, or not as many of either.
    """
    _check(predicted, labels)
    scores = []
    for label in np.union1d(predicted, labels):
        is_predicted, is_label = predicted == label, labels == label
        true_positives = np.sum(is_predicted & is_label)
        scores.append(2 * true_positives / (np.sum(is_predicted) + np.sum(is_label)))
    return float(np.mean(scores))


def _check(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> None:
    if len(predicted) == 0 or len(predicted) != len(labels):
        raise MetricError(
            f"{len(predicted)} predictions and {len(labels)} labels; as many of both"
            " are needed, and at least one"
        )
