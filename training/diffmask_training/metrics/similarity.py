"""How alike two explanations of a text are, and an explanation and the truth."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_pair, checked_scores, top_tokens


def rank_correlation(
    scores: NDArray[np.floating], other: NDArray[np.floating]
) -> float | None:
    """Return Spearman's correlation, ties at their mean rank, in [-1, 1].

    Args:
        scores: `[tokens]` float.
        other: `[tokens]` float. Of the same text.

    Returns:
        None when either is constant, as with one token.

    Raises:
        MetricError: One of them is not sound, or their lengths differ.

    Source: Adebayo et al. 2018, for the randomisation tests.
    """
    left, right = checked_pair(scores, other)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(spearmanr(left, right).statistic)


def top_jaccard(
    scores: NDArray[np.floating], other: NDArray[np.floating], *, count: int
) -> float:
    """Return the overlap of two sets of top tokens over their union, in [0, 1].

    Args:
        scores: `[tokens]` float.
        other: `[tokens]` float. Of the same text.
        count: Tokens in each set, >= 1; all when the text has no more, which gives 1.

    Raises:
        MetricError: One of them is not sound, their lengths differ, or `count` is < 1.
    """
    if count < 1:
        raise MetricError(f"the top is at least one token, not {count}")
    left, right = (top_tokens(one, count) for one in checked_pair(scores, other))
    return float(np.sum(left & right) / np.sum(left | right))


def over_pairs(
    compare: Callable[[NDArray[np.float64], NDArray[np.float64]], float | None],
    scores: NDArray[np.floating],
) -> float | None:
    """Return the mean of a comparison over all pairs of seeds.

    Args:
        compare: Symmetric in its two arguments, each `[tokens]` float64.
        scores: `[seeds, tokens]` float. Explanations of one text.

    Returns:
        None when the comparison is undefined for every pair.

    Raises:
        MetricError: There are fewer than two seeds.
    """
    rows = _checked_seeds(scores)
    compared = [compare(left, right) for left, right in combinations(rows, 2)]
    defined = [value for value in compared if value is not None]
    return float(np.mean(defined)) if defined else None


def shortcut_precision(
    scores: NDArray[np.floating], is_shortcut: NDArray[np.bool_]
) -> float:
    """Return the share of planted tokens among as many top tokens, in [0, 1].

    Args:
        scores: `[tokens]` float.
        is_shortcut: `[tokens]` bool. The tokens planted, at least one.

    Raises:
        MetricError: The scores are not sound, or nothing was planted in their tokens.

    Source: Bastings et al. 2022, "Will You Find These Shortcuts?", precision@k.
    """
    if is_shortcut.shape != np.shape(scores) or not is_shortcut.any():
        raise MetricError("shortcut precision needs a planted token among those scored")
    planted = int(is_shortcut.sum())
    return float(np.sum(top_tokens(scores, planted) & is_shortcut) / planted)


def _checked_seeds(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    if scores.ndim != 2 or len(scores) < 2:
        raise MetricError(
            f"need [seeds, tokens], at least two seeds, not {scores.shape}"
        )
    return np.stack([checked_scores(row) for row in scores])
