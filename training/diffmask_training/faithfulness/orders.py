"""One order of the words of one text: everything that removing them shows."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffmask_training.metrics.erasure import (
    Erasure,
    aopc,
    comprehensiveness,
    erase,
    erasure_masks,
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

# `main` are the figures at ERASER's shares and at the top fifth; `all` adds deciles,
# masking curves, leave-one-out, the words to a flip and NAOPC, for which a text is run
# several times as often.
Extent = Literal["main", "all"]
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
        extent: Which figures its orders are to show.
        drops: `[words]` float64. What leaving out each one costs; None for the main
            figures.
        limits: Of AOPC over all orders; None for the main figures, and where the text
            is too long for them.
    """

    predict: Predict
    num_words: int
    extent: Extent
    drops: NDArray[np.float64] | None
    limits: AopcLimits | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFigures:
    """What one order shows.

    Attributes:
        values: By name of the figure; None where it is not defined.
        curve: `[ratios]` float64 in [0, 1]. Probability of the label with the top share
            of the words removed, at each of `RATIOS`; None for the main figures.
    """

    values: Mapping[str, float | None]
    curve: NDArray[np.float64] | None


def under_removal(
    predict: Predict,
    num_words: int,
    *,
    naopc_max_words: int,
    extent: Extent = "all",
) -> TextUnderRemoval:
    """Run what all orders of a text share.

    Args:
        predict: The model, a function of the kept words.
        num_words: Words of the text, >= 1.
        naopc_max_words: Limits of AOPC are searched up to this many words.
        extent: Which figures the orders are to show.
    """
    is_whole = extent == "all"
    is_short = num_words <= naopc_max_words
    return TextUnderRemoval(
        predict=predict,
        num_words=num_words,
        extent=extent,
        drops=leave_one_out(predict, num_words) if is_whole else None,
        limits=aopc_limits(predict, num_words) if is_whole and is_short else None,
    )


def order_masks(
    text: TextUnderRemoval, scores: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Return every mask that `order_figures` runs, `[n, words]`, True where kept."""
    return erasure_masks(scores, counts=_sizes(text, scores))


def order_figures(text: TextUnderRemoval, scores: NDArray[np.floating]) -> OrderFigures:
    """Remove the words of a text in the order of scores, and keep them alone.

    Args:
        text: The text.
        scores: `[words]` float. The higher, the more important.
    """
    erasure = erase(text.predict, scores, counts=_sizes(text, scores))
    values = _main_figures(erasure, scores)
    if text.drops is None:
        return OrderFigures(values=values, curve=None)
    deciles = _at(erasure, FERRET.counts(scores))
    return OrderFigures(
        values={
            **values,
            "comprehensiveness_deciles": aopc(comprehensiveness(deciles)),
            "sufficiency_deciles": aopc(sufficiency(deciles)),
            "share_to_flip": share_to_flip(erasure),
            "tau_loo": tau_loo(scores, text.drops),
            **_normalised_aopc(text, erasure, scores),
        },
        curve=_at(erasure, _at_ratios(text.num_words)).without,
    )


def _sizes(text: TextUnderRemoval, scores: NDArray[np.floating]) -> list[int]:
    sizes = {*ERASER.counts(scores), *TOP.counts(scores)}
    if text.extent == "all":
        sizes |= {*_at_ratios(text.num_words), *FERRET.counts(scores)}
        sizes |= set(range(1, text.num_words + 1)) if text.limits else set()
    return sorted(sizes)


def _at_ratios(num_words: int) -> list[int]:
    sizes: list[int] = np.floor(RATIOS * num_words + 0.5).astype(np.int64).tolist()
    return sizes


def _main_figures(
    erasure: Erasure, scores: NDArray[np.floating]
) -> dict[str, float | None]:
    eraser, at_top = (
        _at(erasure, ERASER.counts(scores)),
        _at(erasure, TOP.counts(scores)),
    )
    normalised = {
        "normalised_comprehensiveness": normalised_comprehensiveness(at_top),
        "normalised_sufficiency": normalised_sufficiency(at_top),
    }
    return {
        "comprehensiveness": aopc(comprehensiveness(eraser)),
        "comprehensiveness_top": float(comprehensiveness(at_top)[0]),
        "sufficiency": aopc(sufficiency(eraser)),
        "sufficiency_top": float(sufficiency(at_top)[0]),
        **{
            name: None if values is None else float(values[0])
            for name, values in normalised.items()
        },
        "log_odds": float(log_odds(at_top)[0]),
        "flipped_top": float(is_flipped(at_top)[0]),
    }


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
