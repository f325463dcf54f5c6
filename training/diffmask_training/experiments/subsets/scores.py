"""How near masks come to the smallest subsets."""

from dataclasses import dataclass

from torch import Tensor

from diffmask_training.experiments.subsets.search import Minimum


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One mask beside the smallest subsets of its text.

    Attributes:
        precision: Share of the kept words that are in the subset, in [0, 1].
        recall: Share of the subset's words that are kept, in [0, 1].
        f1: Their harmonic mean, in [0, 1].
        is_optimal: Whether the mask does what is asked for with as few words.
    """

    precision: float
    recall: float
    f1: float
    is_optimal: bool


def score_mask(mask: Tensor, minimum: Minimum, *, is_feasible: bool) -> Score:
    """Compare a mask with the one of the smallest subsets that it is nearest to by F1.

    A share of nothing is 1: a mask that keeps no word names none wrongly, and where no
    word is needed, none can be missed.

    Args:
        mask: `[tokens]` bool.
        minimum: The text's smallest subsets, one at least.
        is_feasible: Whether the mask does what is asked for.
    """
    common = (minimum.subsets & mask).sum(dim=-1)  # [subsets]
    num_common, num_kept = int(common.max()), int(mask.sum())
    precision = num_common / num_kept if num_kept else 1.0
    recall = num_common / minimum.size if minimum.size else 1.0
    total = precision + recall
    return Score(
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / total if total else 0.0,
        is_optimal=is_feasible and num_kept == minimum.size,
    )
