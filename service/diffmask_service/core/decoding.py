"""Logits to predictions, and how far one prediction lies from another.

Softmax and divergence are computed in float64, so that neither large logits nor
confident models lose the small probabilities that a divergence lives on.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.values import Float32Array, Prediction

_Float64Array: TypeAlias = NDArray[np.float64]


def decode(logits: Float32Array, labels: tuple[str, ...]) -> Prediction:
    """Turn one text's logits into a prediction.

    Args:
        logits: `[labels]` float32, finite.
        labels: Label names in index order.
    """
    index = int(np.argmax(logits))
    return Prediction(
        label=labels[index],
        label_index=index,
        probabilities=np.exp(_log_softmax(logits)).astype(np.float32),
        logits=logits,
    )


def divergence(full: Float32Array, masked: Float32Array) -> float:
    """Return the Kullback-Leibler divergence KL(full || masked), nats, >= 0.

    Args:
        full: `[labels]` float32. Logits of the model on the whole text.
        masked: `[labels]` float32. Logits of the model on the kept tokens.

    Source:
        De Cao et al. 2020, equation 2: the divergence of the two outputs, with the
        original one standing first.
    """
    log_full, log_masked = _log_softmax(full), _log_softmax(masked)
    # The sum cannot be negative, but its rounded value can, by some 1e-17.
    return max(0.0, float(np.sum(np.exp(log_full) * (log_full - log_masked))))


def _log_softmax(logits: Float32Array) -> _Float64Array:
    shifted = logits.astype(np.float64) - float(np.max(logits))
    return np.asarray(shifted - np.log(np.sum(np.exp(shifted))), dtype=np.float64)
