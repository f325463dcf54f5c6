"""What hard masks do to a model: the kept tokens alone, and the removed ones alone."""

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskFidelity:
    """Hard masks over a set of texts.

    Attributes:
        num_texts: Texts.
        divergence: Mean KL(whole ‖ kept tokens alone), nats.
        agreement: Share of labels that the kept tokens alone give too, in [0, 1].
        complement_agreement: Share of labels that the removed tokens alone give too, in
            [0, 1]; high when the masks remove what was enough by itself.
        kept_share: Share of all tokens that are kept, in [0, 1].
        violation_rate: Share of texts with a divergence over the margin, in [0, 1].
    """

    num_texts: int
    divergence: float
    agreement: float
    complement_agreement: float
    kept_share: float
    violation_rate: float


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


def mask_fidelity(texts: Sequence[MaskedText], *, margin: float) -> MaskFidelity:
    """Summarise hard masks over a set of texts.

    Args:
        texts: At least one.
        margin: Allowed divergence, nats.

    Raises:
        MetricError: There is no text.

    Source: the constraint of De Cao et al. 2020, per text and with hard masks.
    """
    if not texts:
        raise MetricError("mask fidelity needs at least one text")
    distances = np.array([text.divergence for text in texts])
    num_tokens = sum(text.num_tokens for text in texts)
    return MaskFidelity(
        num_texts=len(texts),
        divergence=float(distances.mean()),
        agreement=float(np.mean([text.is_agreeing for text in texts])),
        complement_agreement=float(
            np.mean([text.is_complement_agreeing for text in texts])
        ),
        kept_share=sum(text.num_kept for text in texts) / num_tokens,
        violation_rate=float(np.mean(distances > margin)),
    )
