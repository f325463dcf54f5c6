"""Masks made smaller by trial, as far as the model's prediction allows."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.refinement.gated_text import GatedText


def tightened(
    text: GatedText,
    group: int,
    *,
    baseline: Tensor,
    keep_probability: NDArray[np.float64],
    known: NDArray[np.bool_],
    margin: float,
) -> NDArray[np.bool_]:
    """Return a small mask within the margin, in which no token can be spared.

    The candidates are the tops of the order of the keep probabilities, whose largest is
    the whole text and always within the margin, and the masks known besides. From the
    smallest, tokens are dropped one by one, the cheapest first.

    Args:
        text: What is masked.
        group: Of the text's groups of gates.
        baseline: `[hidden]` float32. What takes a masked token's place.
        keep_probability: `[tokens]` float64 in (0, 1). Of each token.
        known: `[masks, tokens]` bool. Other masks to start from.
        margin: Allowed divergence, nats.
    """
    places = np.argsort(np.argsort(-keep_probability, kind="stable"), kind="stable")
    tops = places < np.arange(len(keep_probability) + 1)[:, None]
    candidates = np.concatenate([known, tops])
    distances = text.try_masks(group, candidates, baseline)
    # The whole text diverges by rounding alone, and must not fail a tiny margin.
    distances[-1] = 0.0
    within = candidates[distances <= margin]
    keep: NDArray[np.bool_] = within[within.sum(axis=1).argmin()].copy()
    while keep.any():
        kept = np.flatnonzero(keep)
        fewer = np.repeat(keep[None], len(kept), axis=0)
        fewer[np.arange(len(kept)), kept] = False
        distances = text.try_masks(group, fewer, baseline)
        if distances.min() > margin:
            break
        keep = fewer[distances.argmin()]
    return keep
