"""What hard masks do to a model: the kept tokens alone, and the removed ones alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.probabilities import Predict, divergence, predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedText:
    """One text under its hard mask.

    Attributes:
        num_tokens: Tokens of the text, >= 1.
        num_kept: Tokens that the mask keeps.
        divergence: KL(whole ‖ kept tokens alone), nats.
        is_agreeing: Whether the kept tokens alone give the label of the whole.
        is_complement_agreeing: Whether the removed tokens alone do.
    """

    num_tokens: int
    num_kept: int
    divergence: float
    is_agreeing: bool
    is_complement_agreeing: bool


def mask_text(predict: Predict, keep: NDArray[np.bool_]) -> MaskedText:
    """Run a model on what a mask keeps and on what it removes.

    A mask that keeps all leaves the empty text as its complement, and the other way
    round; both are run like any other.

    Args:
        predict: The model on this text.
        keep: `[tokens]` bool. The hard mask.

    Raises:
        MetricError: There is no token, or the model gives no probabilities.
    """
    if keep.ndim != 1 or not keep.size or keep.dtype != np.bool_:
        raise MetricError(
            f"a mask must be [tokens] bool, at least one, not {keep.shape} {keep.dtype}"
        )
    whole, kept, removed = predicted(
        predict, np.stack([np.ones_like(keep), keep, ~keep])
    )
    return MaskedText(
        num_tokens=keep.size,
        num_kept=int(keep.sum()),
        divergence=float(divergence(whole, kept)),
        is_agreeing=bool(whole.argmax() == kept.argmax()),
        is_complement_agreeing=bool(whole.argmax() == removed.argmax()),
    )
