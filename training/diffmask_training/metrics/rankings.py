"""Tokens in the order of their scores, and the top of that order.

Ties are broken by position, the earlier token first, so that every figure is
deterministic. Scores that are all equal therefore rank the text from left to right.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Which shares of a text's tokens count as its top.

    Attributes:
        shares: Shares of the tokens, in (0, 1], rising.
        rounding: Of the token count. `up` takes at least one token; `down` skips a
            share that amounts to none.
        is_positive_only: Whether tokens with a score of 0 or less are never taken.
    """

    shares: tuple[float, ...]
    rounding: Literal["up", "down"] = "up"
    is_positive_only: bool = False

    def counts(self, scores: NDArray[np.floating]) -> tuple[int, ...]:
        """Return the different token counts >= 1 that the shares amount to, rising.

        Args:
            scores: `[tokens]` float.

        Raises:
            MetricError: The scores are not finite, or there are none.
        """
        checked = checked_scores(scores)
        exact = np.array(self.shares) * len(checked)
        # In floating point 0.07 * 100 is above 7, and 0.29 * 100 below 29.
        rounded = (
            np.ceil(exact - 1e-9) if self.rounding == "up" else np.floor(exact + 1e-9)
        )
        if self.is_positive_only:
            rounded = np.minimum(rounded, np.sum(checked > 0))
        return tuple(int(count) for count in np.unique(rounded) if count >= 1)


# DeYoung et al. 2020. Their code leaves the rounding to whoever submits scores.
ERASER = Thresholds(shares=(0.01, 0.05, 0.1, 0.2, 0.5))
# Attanasio et al. 2023; as the defaults of ferret 0.4.
FERRET = Thresholds(
    shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    rounding="down",
    is_positive_only=True,
)


def checked_scores(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the scores of one text in double precision.

    Args:
        scores: `[tokens]` float.

    Raises:
        MetricError: The shape is another, a score is not finite, or there are none.
    """
    checked = np.asarray(scores, dtype=np.float64)
    if checked.ndim != 1 or not checked.size:
        raise MetricError(f"scores must be [tokens], at least one, not {checked.shape}")
    if not np.isfinite(checked).all():
        raise MetricError("scores must be finite")
    return checked


def checked_pair(
    scores: NDArray[np.floating], other: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two sets of scores of one text in double precision.

    Args:
        scores: `[tokens]` float.
        other: `[tokens]` float.

    Raises:
        MetricError: One of them is not sound, or their lengths differ.
    """
    left, right = checked_scores(scores), checked_scores(other)
    if left.shape != right.shape:
        raise MetricError(f"scores of {len(left)} and of {len(right)} tokens")
    return left, right


def ranks(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return each token's place in the order of the scores.

    Args:
        scores: `[tokens]` float.

    Returns:
        `[tokens]` int64, a permutation; 0 is the highest score.

    Raises:
        MetricError: The scores are not finite, or there are none.
    """
    order = np.argsort(-checked_scores(scores), kind="stable")
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def top_tokens(scores: NDArray[np.floating], count: int) -> NDArray[np.bool_]:
    """Return which tokens have the highest scores.

    Args:
        scores: `[tokens]` float.
        count: How many, >= 0; all when there are no more.

    Returns:
        `[tokens]` bool.

    Raises:
        MetricError: The scores are not finite, or there are none.
    """
    top: NDArray[np.bool_] = ranks(scores) < count
    return top
