"""Probabilities of a model whose tokens are masked, and distances between them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError

# From `[n, tokens]` bool, True where a token is kept, to `[n, labels]` probabilities.
# Holds one text and one way of removing tokens, and splits long inputs as it likes.
# Tokens that are never removed, special ones for instance, are not on the axis.
Predict = Callable[[NDArray[np.bool_]], NDArray[np.floating]]

# float32 probabilities underflow to 0, and one logarithm of 0 would swallow a mean.
_SMALLEST = float(np.finfo(np.float32).tiny)


# A difference of float32 probabilities below this is rounding, no divisor.
NOISE = 1e-6


def predicted(predict: Predict, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Run a model and check what it gives.

    Args:
        predict: The model on one text.
        keep: `[n, tokens]` bool. True where a token is kept.

    Returns:
        `[n, labels]` float64 in [0, 1].

    Raises:
        MetricError: These are not probabilities, one row for each of `keep`.
    """
    return checked_probabilities(predict(keep), num_rows=len(keep))


def checked_probabilities(
    probabilities: NDArray[np.floating], *, num_rows: int | None = None
) -> NDArray[np.float64]:
    """Return probabilities in double precision.

    Args:
        probabilities: `[n, labels]` float.
        num_rows: Expected n; any when None, but for 0.

    Raises:
        MetricError: The shape is another, or a row does not sum to 1 within 0.001.
    """
    checked = np.asarray(probabilities, dtype=np.float64)
    is_shaped = checked.ndim == 2 and len(checked) == (num_rows or len(checked) or 1)
    if not is_shaped:
        expected = "n" if num_rows is None else num_rows
        raise MetricError(
            f"probabilities must be [{expected}, labels], not {checked.shape}"
        )
    sums = checked.sum(axis=-1)
    # Written so that NaN fails it; half precision loses about 0.0005.
    if not (np.abs(sums - 1).max() <= 1e-3 and checked.min() >= 0):
        raise MetricError("every row of probabilities must be >= 0 and sum to 1")
    return checked


def log_probability(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return logarithms that are finite even where a probability underflowed to 0.

    Args:
        probabilities: `[...]` float in [0, 1]. Taken as the smallest normal float32,
            about 1.2e-38, where they are below.

    Returns:
        `[...]` float64 in [-87.4, 0].
    """
    logarithm: NDArray[np.float64] = np.log(
        np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST)
    )
    return logarithm


def divergence(
    probabilities: NDArray[np.floating], other: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return KL(probabilities ‖ other) of each row, nats.

    Args:
        probabilities: `[..., labels]` float in [0, 1].
        other: `[..., labels]` float in [0, 1].

    Returns:
        `[...]` float64, >= 0 and finite.
    """
    first = np.asarray(probabilities, dtype=np.float64)
    terms = first * (log_probability(first) - log_probability(other))
    distance: NDArray[np.float64] = np.maximum(terms.sum(axis=-1), 0.0)
    return distance
