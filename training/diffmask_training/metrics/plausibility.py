"""How well explanations match what people marked; this says nothing of faithfulness."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, precision_recall_curve

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_scores
from diffmask_training.metrics.runs import run_bounds


def auprc(scores: NDArray[np.floating], rationale: NDArray[np.bool_]) -> float | None:
    """Return the area under the precision-recall curve of one text, in [0, 1].

    Args:
        scores: `[tokens]` float.
        rationale: `[tokens]` bool. The tokens that people marked.

    Returns:
        None when nobody marked a token, which leaves recall undefined.

    Raises:
        MetricError: The scores are not sound, or lengths differ.

    Source: DeYoung et al. 2020, "ERASER"; by the trapezoidal rule, as in their code.
    """
    _check_lengths([np.asarray(scores)], [rationale])
    checked = checked_scores(scores)
    if not rationale.any():
        return None
    precision, recall, _ = precision_recall_curve(rationale, checked)
    return float(auc(recall, precision))


def human_budget(rationales: Sequence[NDArray[np.bool_]]) -> int:
    """Return the mean number of tokens that people mark in a text, rounded, >= 1.

    Args:
        rationales: `[tokens]` bool for each text.

    Raises:
        MetricError: There is no text, or nobody marked a token anywhere.
    """
    marked = [int(rationale.sum()) for rationale in rationales]
    if not sum(marked):
        raise MetricError("a human budget needs at least one marked token")
    # Halves up: Python's own rounding would make a budget of 2.5 smaller than of 1.5.
    return max(1, int(np.floor(np.mean(marked) + 0.5)))


def token_f1(keep: NDArray[np.bool_], rationale: NDArray[np.bool_]) -> float:
    """Return F1 of the kept tokens of one text, in [0, 1].

    Args:
        keep: `[tokens]` bool; `top_tokens` at the human budget, for comparisons.
        rationale: `[tokens]` bool. The tokens that people marked.

    Returns:
        0 when nothing is kept or nothing marked, as in ERASER; an average over texts is
        their macro figure.

    Raises:
        MetricError: Lengths differ.

    Source: DeYoung et al. 2020, "ERASER".
    """
    _check_lengths([keep], [rationale])
    shared = int(np.sum(keep & rationale))
    return 2 * shared / int(keep.sum() + rationale.sum()) if shared else 0.0


def iou_f1(
    keeps: Sequence[NDArray[np.bool_]],
    rationales: Sequence[NDArray[np.bool_]],
    *,
    threshold: float = 0.5,
) -> float:
    """Return F1 of kept spans that overlap a marked span well enough, in [0, 1].

    A span is a run of tokens. A kept one counts when its overlap with some marked one,
    over their union, reaches the threshold. Precision is the mean over texts with kept
    tokens, recall over texts with marked ones, and F1 that of the two means.

    Args:
        keeps: `[tokens]` bool for each text.
        rationales: `[tokens]` bool for each text. The tokens that people marked.
        threshold: Smallest overlap, in [0.5, 1]; below, two kept spans could claim the
            same marked one.

    Raises:
        MetricError: There is no text, lengths differ, or the threshold is out of range.

    Source: DeYoung et al. 2020, "ERASER"; averaged as `macro` in their code.
    """
    _check_lengths(keeps, rationales)
    if not 0.5 <= threshold <= 1:
        raise MetricError(f"an overlap threshold is in [0.5, 1], not {threshold}")
    precisions, recalls = [], []
    for keep, rationale in zip(keeps, rationales, strict=True):
        overlaps = _best_overlaps(keep, rationale)
        matched = int(np.sum(overlaps >= threshold))
        num_marked = run_bounds(rationale).shape[1]
        if overlaps.size:
            precisions.append(matched / overlaps.size)
        if num_marked:
            recalls.append(matched / num_marked)
    precision, recall = (
        float(np.mean(each)) if each else 0.0 for each in (precisions, recalls)
    )
    if precision == 0 or recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _best_overlaps(
    keep: NDArray[np.bool_], rationale: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return each kept span's best intersection over union, `[runs]`."""
    starts, ends = run_bounds(keep)[:, :, None]  # [runs, 1]
    marked_starts, marked_ends = run_bounds(rationale)
    shared = np.minimum(ends, marked_ends) - np.maximum(starts, marked_starts)
    shared = np.maximum(shared, 0)
    union = (ends - starts) + (marked_ends - marked_starts) - shared
    best: NDArray[np.float64] = (shared / union).max(axis=-1, initial=0.0)
    return best


def _check_lengths(
    keeps: Sequence[NDArray[np.generic]], rationales: Sequence[NDArray[np.bool_]]
) -> None:
    shapes = [keep.shape for keep in keeps]
    marked = [rationale.shape for rationale in rationales]
    if not shapes or shapes != marked:
        raise MetricError(f"tokens explained are {shapes}, tokens marked {marked}")
