"""Models in closed form, from kept tokens to probabilities."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diffmask_training.metrics.probabilities import Predict


def logistic(weights: NDArray[np.floating], bias: float = 0.0) -> Predict:
    """Two labels; the log-odds of label 1 are the bias and the weights kept."""

    def predict(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        chance = 1 / (1 + np.exp(-(keep @ weights + bias)))
        return np.stack([1 - chance, chance], axis=-1)

    return predict


def table(chance_by_kept: Mapping[tuple[int, ...], float]) -> Predict:
    """Two labels; the chance of label 1 is looked up by the kept positions."""

    def predict(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        kept = [tuple(np.flatnonzero(row).tolist()) for row in keep]
        chance = np.array([chance_by_kept[key] for key in kept])
        return np.stack([1 - chance, chance], axis=-1)

    return predict


def additive(drops: NDArray[np.floating], whole: float) -> Predict:
    """Two labels; each removed token takes its drop from the chance of label 1."""

    def predict(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        chance = whole - ~keep @ drops
        return np.stack([1 - chance, chance], axis=-1)

    return predict
