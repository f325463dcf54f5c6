"""One order of the words of one text: everything that removing them shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.metrics.erasure import (
    Erasure,
    aopc,
    comprehensiveness,
    erase,
    is_flipped,
    log_odds,
    normalised_comprehensiveness,
    normalised_sufficiency,
    share_to_flip,
    sufficiency,
)
from diffmask_training.metrics.leave_one_out import leave_one_out, tau_loo
from diffmask_training.metrics.naopc import AopcLimits, aopc_limits, naopc
from diffmask_training.metrics.probabilities import Predict
from diffmask_training.metrics.rankings import ERASER, FERRET, Thresholds

# The single share at which figures are given, as in the literature's tables.
TOP = Thresholds(shares=(0.2,))
# Where the masking curve is read, none to all of the words.
RATIOS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUnderRemoval:
    """One text under one way of removing words, with what all orders share.

    Attributes:
        predict: The model, a function of the kept words.
        num_words: Words that can be ordered, >= 1.
        drops: `[words]` float64. What leaving out each one costs.
        limits: Of AOPC over all orders; None where the text is too long for them.
    """

    predict: Predict
    num_words: int
    drops: NDArray[np.float64]
    limits: AopcLimits | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFigures:
    """What one order shows.

    Attributes:
        values: By name of the figure; None where it is not defined.
        curve: `[ratios]` float64 in [0, 1]. Probability of the label with the top share
            of the words removed, at each of `RATIOS`.
    """

    values: Mapping[str, float | None]
    curve: NDArray[np.float64]


def under_removal(
    predict: Predict, num_words: int, *, naopc_max_words: int
) -> TextUnderRemoval:
    """Run what all orders of a text share.

    Args:
        predict: The model, a function of the kept words.
        num_words: Words of the text, >= 1.
        naopc_max_words: Limits of AOPC are searched up to this many words.
    """
    is_short = num_words <= naopc_max_words
    return TextUnderRemoval(
        predict=predict,
        num_words=num_words,
        drops=leave_one_out(predict, num_words),
        limits=aopc_limits(predict, num_words) if is_short else None,
    )


def order_figures(text: TextUnderRemoval, scores: NDArray[np.floating]) -> OrderFigures:
    """Remove the words of a text in the order of scores, and keep them alone.

    Args:
        text: The text.
        scores: `[words]` float. The higher, the more important.
    """
    num_words = text.num_words
    at_ratios = np.floor(RATIOS * num_words + 0.5).astype(np.int64)
    eraser, ferret = ERASER.counts(scores), FERRET.counts(scores)
    top = TOP.counts(scores)
    every = range(1, num_words + 1) if text.limits else ()
    counts = sorted({*at_ratios.tolist(), *eraser, *ferret, *top, *every})
    erasure = erase(text.predict, scores, counts=counts)
    at_top = _at(erasure, top)
    normalised = {
        "normalised_comprehensiveness": normalised_comprehensiveness(at_top),
        "normalised_sufficiency": normalised_sufficiency(at_top),
    }
    return OrderFigures(
        values={
            "comprehensiveness": aopc(comprehensiveness(_at(erasure, eraser))),
            "comprehensiveness_deciles": aopc(comprehensiveness(_at(erasure, ferret))),
            "comprehensiveness_top": float(comprehensiveness(at_top)[0]),
            "sufficiency": aopc(sufficiency(_at(erasure, eraser))),
            "sufficiency_deciles": aopc(sufficiency(_at(erasure, ferret))),
            "sufficiency_top": float(sufficiency(at_top)[0]),
            **{
                name: None if values is None else float(values[0])
                for name, values in normalised.items()
            },
            "log_odds": float(log_odds(at_top)[0]),
            "flipped_top": float(is_flipped(at_top)[0]),
            "share_to_flip": share_to_flip(erasure),
            "tau_loo": tau_loo(scores, text.drops),
            **_normalised_aopc(text, erasure, scores),
        },
        curve=_at(erasure, at_ratios.tolist()).without,
    )


def _normalised_aopc(
    text: TextUnderRemoval, erasure: Erasure, scores: NDArray[np.floating]
) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "naopc_comprehensiveness": None,
        "naopc_sufficiency": None,
    }
    if text.limits is None:
        return found
    every = range(1, text.num_words + 1)
    lowest_first = erase(text.predict, -np.asarray(scores), counts=every)
    for name, run in zip(found, (_at(erasure, every), lowest_first), strict=True):
        area = aopc(comprehensiveness(run))
        found[name] = None if area is None else naopc(area, text.limits)
    return found


def _at(erasure: Erasure, counts: Sequence[int]) -> Erasure:
    """Return the sizes asked for, of those that were run; a size may be repeated."""
    where = np.searchsorted(erasure.counts, np.asarray(counts, dtype=np.int64))
    return dataclasses.replace(
        erasure,
        counts=erasure.counts[where],
        without=erasure.without[where],
        only=erasure.only[where],
        labels_without=erasure.labels_without[where],
    )
