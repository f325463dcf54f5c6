"""How well the label can be told from a mask alone, without any word of the text."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diffmask_training.errors import MetricError
from diffmask_training.metrics.runs import run_bounds

# Tokens at either end whose place in the mask is a feature of its own.
NUM_EDGE_TOKENS = 8

PatternClassifier = Literal["linear", "forest"]


def mask_features(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Describe the pattern of one mask.

    Args:
        keep: `[tokens]` bool. May be empty, and then gives zeros.

    Returns:
        `[6 + 2 NUM_EDGE_TOKENS]` float64: kept tokens, their share, runs of kept
        tokens, length of the longest run, mean length of a run, mean position of kept
        tokens from 0 to 1; then whether each of the first tokens is kept, and of the
        last, counted from the end. What does not exist is 0.
    """
    starts, ends = run_bounds(keep)
    runs = ends - starts
    kept = np.flatnonzero(keep)
    edges = np.zeros((2, NUM_EDGE_TOKENS))
    near = min(keep.size, NUM_EDGE_TOKENS)
    edges[0, :near] = keep[:near]
    edges[1, :near] = keep[::-1][:near]
    shape = [
        kept.size,
        kept.size / max(keep.size, 1),
        runs.size,
        runs.max(initial=0),
        kept.size / max(runs.size, 1),
        kept.mean() / max(keep.size - 1, 1) if kept.size else 0.0,
    ]
    return np.concatenate([shape, edges.ravel()])


def pattern_predictions(
    masks: Sequence[NDArray[np.bool_]],
    labels: NDArray[np.integer],
    *,
    seed: int,
    num_folds: int = 5,
    classifier: PatternClassifier = "linear",
) -> NDArray[np.int64]:
    """Tell the label of each text from its mask's pattern, fitted to other texts.

    Args:
        masks: `[tokens]` bool for each text.
        labels: `[batch]` labels that the explained model predicts.
        seed: Of the folds.
        num_folds: Folds, each with the same share of every label, >= 2.
        classifier: `linear` is logistic regression; `forest` also sees what no single
            feature tells, such as whether the number of kept tokens is odd.

    Returns:
        `[batch]` labels.

    Raises:
        MetricError: All labels are equal, so that there is nothing to tell, or one is
            rarer than there are folds.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(masks) != len(labels) or len(counts) < 2 or counts.min() < num_folds:
        raise MetricError(
            f"{num_folds} folds need two labels, each of {num_folds} masks or more, not"
            f" {counts.tolist()} of {len(masks)}"
        )
    estimator = (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        if classifier == "linear"
        else RandomForestClassifier(50, min_samples_leaf=2, random_state=seed)
    )
    predicted: NDArray[np.int64] = cross_val_predict(
        estimator,
        np.stack([mask_features(mask) for mask in masks]),
        labels,
        cv=StratifiedKFold(num_folds, shuffle=True, random_state=seed),
    )
    return predicted
