"""Whether explanations of live texts still look like those of reference texts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_pair, ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """A two-sample Kolmogorov-Smirnov test.

    Attributes:
        statistic: Largest difference of the distribution functions, in [0, 1].
        p_value: Chance of at least that much without a shift, in [0, 1].
    """

    statistic: float
    p_value: float


def ndcg(reference: NDArray[np.floating], live: NDArray[np.floating]) -> float | None:
    """Return how well the live order of features keeps the reference one, in (0, 1].

    The sum over the live order of a(f_i) / log2(i + 1), i from 1, over the same sum in
    the reference order; a is always the reference attribution. Ties are broken by
    position, in both.

    Args:
        reference: `[features]` float, >= 0. Mean attribution of each token, or class of
            tokens, on reference texts.
        live: `[features]` float, >= 0. The same on live texts.

    Returns:
        None when all reference attributions are 0.

    Raises:
        MetricError: One of them is not sound or negative, or their lengths differ.

    Source: Amazon SageMaker Clarify, feature attribution drift; it raises an alert
        below 0.90.
    """
    expected, seen = checked_pair(reference, live)
    if min(expected.min(), seen.min()) < 0:
        raise MetricError("attributions must be >= 0 to be gains")
    best = _discounted_gain(expected, ranks(expected))
    return _discounted_gain(expected, ranks(seen)) / best if best else None


def shift(reference: NDArray[np.floating], live: NDArray[np.floating]) -> Shift:
    """Test whether two samples of a figure come from one distribution.

    Args:
        reference: `[batch]` float. Kept share of each reference text, for instance.
        live: `[batch]` float. The same of live texts; any number of them.

    Raises:
        MetricError: A sample is empty or not finite.

    Source: the two-sample Kolmogorov-Smirnov test, by scipy.
    """
    for sample in (reference, live):
        if not sample.size or not np.isfinite(sample).all():
            raise MetricError("a sample must be finite and hold at least one text")
    test = ks_2samp(reference, live)
    return Shift(statistic=float(test.statistic), p_value=float(test.pvalue))


def _discounted_gain(gains: NDArray[np.float64], places: NDArray[np.int64]) -> float:
    return float(np.sum(gains / np.log2(places + 2)))
