"""Whether scores rank tokens as their single removal does."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from diffmask_training.metrics.probabilities import Predict, predicted
from diffmask_training.metrics.rankings import checked_pair


def leave_one_out(predict: Predict, num_tokens: int) -> NDArray[np.float64]:
    """Return f_c(x) - f_c(x without token i), `[tokens]` in [-1, 1].

    Args:
        predict: The model on this text.
        num_tokens: Tokens of the text, >= 1.
    """
    whole = np.ones((1, num_tokens), dtype=np.bool_)
    keep = np.concatenate([whole, ~np.eye(num_tokens, dtype=np.bool_)])
    rows = predicted(predict, keep)
    label = rows[0].argmax()
    drops: NDArray[np.float64] = rows[0, label] - rows[1:, label]
    return drops


def tau_loo(scores: NDArray[np.floating], drops: NDArray[np.floating]) -> float | None:
    """Return Kendall's tau-b of scores and leave-one-out drops, in [-1, 1].

    Args:
        scores: `[tokens]` float.
        drops: `[tokens]` float. From `leave_one_out`.

    Returns:
        None when either is constant, as with one token.

    Raises:
        MetricError: One of them is not sound, or their lengths differ.

    Source: Jain and Wallace 2019, section 4.1; tau-b as ferret computes it.
    """
    left, right = checked_pair(scores, drops)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(kendalltau(left, right).statistic)
