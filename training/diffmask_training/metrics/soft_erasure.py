"""Erasure in proportion to the scores: each embedding coordinate is kept by chance."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.erasure import worth_of_all
from diffmask_training.metrics.probabilities import checked_probabilities
from diffmask_training.metrics.rankings import checked_scores

# From `[n, tokens]` float64 in [0, 1] to `[n, labels]` probabilities. Every coordinate
# of a token's embedding is kept with its token's chance, by a draw of its own from the
# generator, and is 0 otherwise.
SoftPredict = Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.floating]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftErasure:
    """Normalised soft figures of one text; high is good for both.

    Attributes:
        comprehensiveness: Soft-NC, in [0, 1].
        sufficiency: Soft-NS, in [0, 1].
    """

    comprehensiveness: float
    sufficiency: float


def soft_erasure(
    predict: SoftPredict,
    scores: NDArray[np.floating],
    *,
    draws: int,
    generator: np.random.Generator,
) -> SoftErasure | None:
    """Keep coordinates with the chance a_i of their token, then with 1 - a_i.

    Args:
        predict: The model on this text.
        scores: `[tokens]` float in [0, 1]. The a_i; a keep probability already is one.
        draws: How often coordinates are drawn; figures are means over it, >= 1.
        generator: Source of randomness.

    Returns:
        None when the empty text is as sure of the label as the whole one.

    Raises:
        MetricError: Scores are not in [0, 1], or the model gives no probabilities.

    Source:
        Zhao and Aletras 2023, "Incorporating Attribution Importance for Improving
        Faithfulness Metrics", Soft-NS and Soft-NC; the mean over draws, clipped as in
        `erasure`.
    """
    chances = checked_scores(scores)
    if chances.min() < 0 or chances.max() > 1 or draws < 1:
        raise MetricError("soft erasure needs scores in [0, 1] and at least one draw")
    fixed = np.stack([np.ones_like(chances), np.zeros_like(chances)])
    drawn = np.repeat(np.stack([chances, 1 - chances]), draws, axis=0)
    retain = np.concatenate([fixed, drawn])  # [2 + 2 draws, tokens]
    rows = checked_probabilities(predict(retain, generator), num_rows=len(retain))
    of_label = rows[:, rows[0].argmax()]
    worth = worth_of_all(of_label[0], of_label[1])
    if worth is None:
        return None
    losses = np.clip((of_label[0] - of_label[2:]) / worth, 0.0, 1.0)
    of_kept, of_removed = losses.reshape(2, draws).mean(axis=1)
    return SoftErasure(
        comprehensiveness=float(of_removed), sufficiency=float(1 - of_kept)
    )
