"""How much faster a ranking masks a model's performance away than chance does."""

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid

from diffmask_training.errors import MetricError
from diffmask_training.metrics.probabilities import NOISE


def racu(
    *,
    ratios: NDArray[np.floating],
    performance: NDArray[np.floating],
    random_performance: NDArray[np.floating],
) -> float | None:
    """Return the relative area between two masking curves, <= 1 as a rule.

    The area between the curve of random orders and that of the ranking, over the area
    between the curve of random orders and its own end, where all is masked. 0 is no
    better than chance; 1 would be performance at that end from the start. Areas by the
    trapezoidal rule.

    Args:
        ratios: `[ratios]` float. Shares of masked tokens, rising from 0 to 1.
        performance: `[ratios]` float. Of a model, masked in the order of the scores;
            accuracy over texts, or f_c of one text (`Erasure.without`).
        random_performance: `[ratios]` float. The same in random orders, averaged.

    Returns:
        None when masking at random costs nothing on the whole.

    Raises:
        MetricError: The ratios do not rise from 0 to 1, shapes differ, or a number is
            not finite.

    Source:
        Madsen et al. 2022, "Evaluating the Faithfulness of Importance Measures in NLP
        by Recursively Masking Allegedly Important Tokens and Retraining". They retrain
        the model at each ratio; here its masked performance is taken as it is.
    """
    curves = (ratios, performance, random_performance)
    if ratios.ndim != 1 or len(ratios) < 2 or len({c.shape for c in curves}) > 1:
        raise MetricError(
            f"curves over masking ratios have shapes {[c.shape for c in curves]}"
        )
    if not np.isfinite(np.stack(curves)).all():
        raise MetricError("masking ratios and performance must be finite")
    if ratios[0] != 0 or ratios[-1] != 1 or np.any(np.diff(ratios) <= 0):
        raise MetricError("masking ratios must rise from 0 to 1")
    area = float(relative_areas(ratios, performance, random_performance))
    return None if np.isnan(area) else area


def relative_areas(
    ratios: NDArray[np.floating],
    performance: NDArray[np.floating],
    random_performance: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return RACU of many pairs of curves at once.

    Args:
        ratios: `[ratios]` float, rising from 0 to 1; not checked here.
        performance: `[..., ratios]` float.
        random_performance: `[..., ratios]` float.

    Returns:
        `[...]` float64, NaN where masking at random costs nothing on the whole.
    """
    between = trapezoid(random_performance - performance, ratios)
    largest = trapezoid(random_performance - random_performance[..., -1:], ratios)
    is_defined = np.asarray(largest > NOISE)
    areas: NDArray[np.float64] = np.where(
        is_defined, between / np.where(is_defined, largest, 1.0), np.nan
    )
    return areas
