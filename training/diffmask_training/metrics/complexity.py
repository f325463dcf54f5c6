"""How much of a text an explanation points at, and how evenly."""

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_scores


def kept_share(
    keep: NDArray[np.bool_], attention_mask: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the share of real tokens that each layer's masks keep.

    Args:
        keep: `[batch, layers, tokens]` bool.
        attention_mask: `[batch, tokens]` int. 1 = real token.

    Returns:
        `[layers]` float64 in [0, 1]. Of all tokens of the batch, not a mean of texts.

    Raises:
        MetricError: Shapes do not fit, or there is no real token.
    """
    real = attention_mask.astype(np.bool_)
    if keep.ndim != 3 or keep.shape[::2] != real.shape or not real.any():
        raise MetricError(f"masks {keep.shape} over real tokens {real.shape}")
    kept = (keep & real[:, None]).sum(axis=(0, 2))
    share: NDArray[np.float64] = kept / real.sum()
    return share


def gini(scores: NDArray[np.floating]) -> float | None:
    """Return the Gini index of the scores, in [0, 1): 0 when all are equal.

    Args:
        scores: `[tokens]` float, >= 0.

    Returns:
        None when all are 0, and there is nothing to share out.

    Raises:
        MetricError: The scores are not sound, or one is negative.

    Source: Hurley and Rickard 2009, "Comparing Measures of Sparsity"; as sparseness in
        Quantus (Chalasani et al. 2020).
    """
    ordered = np.sort(_checked_amounts(scores))
    total = ordered.sum()
    if total == 0:
        return None
    weights = 2 * np.arange(1, len(ordered) + 1) - len(ordered) - 1
    return float(weights @ ordered / (len(ordered) * total))


def entropy(scores: NDArray[np.floating]) -> float | None:
    """Return the entropy of the scores as shares of their sum, nats in [0, log tokens].

    Args:
        scores: `[tokens]` float, >= 0.

    Returns:
        None when all are 0, and there are no shares.

    Raises:
        MetricError: The scores are not sound, or one is negative.

    Source: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model
        Explanations", complexity.
    """
    amounts = _checked_amounts(scores)
    if amounts.sum() == 0:
        return None
    shares = amounts[amounts > 0] / amounts.sum()
    # Rounding would make the entropy of a single share -0.0.
    return max(0.0, float(-(shares * np.log(shares)).sum()))


def drop_layers(
    gates: NDArray[np.floating], *, threshold: float = 0.5
) -> NDArray[np.int64]:
    """Return the first layer at which each token of one text is dropped.

    Its mean over tokens is the mean drop layer.

    Args:
        gates: `[layers, tokens]` float in [0, 1]. Input gates, which do not rise with
            the layer.
        threshold: A token is kept where its gate is at least this.

    Returns:
        `[tokens]` int64 in [0, layers]; `layers` for a token that is never dropped.

    Raises:
        MetricError: The shape is another, or a gate is not finite.

    Source: De Cao et al. 2020, the layer-wise reading of input gates.
    """
    if gates.ndim != 2 or not gates.size or not np.isfinite(gates).all():
        raise MetricError(f"gates must be finite [layers, tokens], not {gates.shape}")
    is_dropped = gates < threshold
    first: NDArray[np.int64] = np.where(
        is_dropped.any(axis=0), is_dropped.argmax(axis=0), len(gates)
    )
    return first


def _checked_amounts(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    amounts = checked_scores(scores)
    if amounts.min() < 0:
        raise MetricError("scores must be >= 0 to be shares of a whole")
    return amounts
