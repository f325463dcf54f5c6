"""Figures of predictions against labels."""

import numpy as np
from numpy.typing import NDArray


def accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Return the share of equal entries, in [0, 1].

    Args:
        predicted: `[batch]` label indices.
        labels: `[batch]` label indices to compare with.
    """
    return float(np.mean(predicted == labels))


def macro_f1(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Return the unweighted mean over classes of F1, in [0, 1].

    Computed once over the whole data set. A class counts when it occurs in either
    array; one that is never predicted rightly scores 0.

    Args:
        predicted: `[batch]` label indices.
        labels: `[batch]` true label indices.
    """
    scores = []
    for label in np.union1d(predicted, labels):
        is_predicted, is_label = predicted == label, labels == label
        true_positives = np.sum(is_predicted & is_label)
        scores.append(2 * true_positives / (np.sum(is_predicted) + np.sum(is_label)))
    return float(np.mean(scores))
