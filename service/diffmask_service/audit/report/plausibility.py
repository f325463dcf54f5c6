"""How far scores match what people marked; this says nothing of faithfulness.

The measures are those of ERASER (DeYoung et al. 2020), over the tokens that people
could mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffmask_service.audit.report.estimates import Estimate, Mean
from diffmask_service.audit.report.rationales import can_be_marked, read_rationale
from diffmask_service.audit.report.reading import Audit, Explained
from diffmask_service.core.predictions import BoolArray, Float32Array

_OVERLAP = 0.5
_MEASURES = ("share", "auprc", "random", "kept", "top")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausibility:
    """Agreement with people, means over texts with something marked.

    Attributes:
        num_texts: Texts with a rationale that marks something.
        num_unread: Texts whose rationale could not be read or marks nothing.
        marked_share: Share of the tokens of a text that people mark.
        auprc: Area under the precision-recall curve of the scores.
        random_auprc: The same for tokens in a random order.
        kept_f1: Token F1 of the tokens that the hard mask of the score keeps.
        kept_iou_f1: F1 of their spans, matched at half overlap.
        top_f1: Token F1 of as many top tokens as people marked in that text.
        top_iou_f1: F1 of the spans of those.
    """

    num_texts: int
    num_unread: int
    marked_share: Estimate | None
    auprc: Estimate | None
    random_auprc: Estimate | None
    kept_f1: Estimate | None
    kept_iou_f1: float
    top_f1: Estimate | None
    top_iou_f1: float


def auprc(scores: Float32Array, marked: BoolArray) -> float:
    """Return the area under the precision-recall curve by the trapezoidal rule.

    Args:
        scores: `[tokens]` float32.
        marked: `[tokens]` bool; at least one.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(marked[order])
    # Tokens of equal score come in together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    precision = np.concatenate([[1.0], hits[last] / (last + 1)])
    recall = np.concatenate([[0.0], hits[last] / hits[-1]])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def random_auprc(num_marked: int, num_tokens: int) -> float:
    """Return the mean of `auprc` over all orders of the tokens.

    It lies above the share of marked tokens, far so in short texts with few of them:
    the trapezoids begin at precision 1.

    Args:
        num_marked: Marked tokens, in [1, num_tokens].
        num_tokens: All tokens.
    """
    if num_marked == num_tokens:
        return 1.0
    # A marked token at rank r has the share q of those before it marked, where q is
    # that of all others: its trapezoid is q + (1 - q) / 2r high, and 1 for r = 1.
    unmarked = (num_tokens - num_marked) / (num_tokens - 1)
    ranks = sum(1 / rank for rank in range(2, num_tokens + 1))
    return (num_marked + unmarked * ranks / 2) / num_tokens


def token_f1(keep: BoolArray, marked: BoolArray) -> float:
    """Return F1 of kept tokens, 0 where nothing is shared.

    Args:
        keep: `[tokens]` bool.
        marked: `[tokens]` bool.
    """
    shared = int(np.sum(keep & marked))
    return 2 * shared / int(keep.sum() + marked.sum()) if shared else 0.0


def matched_spans(keep: BoolArray, marked: BoolArray) -> int:
    """Return how many kept spans overlap a marked one by half of their union.

    Args:
        keep: `[tokens]` bool.
        marked: `[tokens]` bool.
    """
    others = spans(marked)
    return sum(
        any(_overlap(span, other) >= _OVERLAP for other in others)
        for span in spans(keep)
    )


def spans(which: BoolArray) -> Sequence[tuple[int, int]]:
    """Return start and end of each run of true values.

    Args:
        which: `[tokens]` bool.
    """
    edges = np.flatnonzero(np.diff(which, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _overlap(left: tuple[int, int], right: tuple[int, int]) -> float:
    shared = min(left[1], right[1]) - max(left[0], right[0])
    union = left[1] - left[0] + right[1] - right[0] - shared
    return max(0, shared) / union


class SpanF1:
    """F1 of spans: of the mean precision and the mean recall over texts."""

    def __init__(self) -> None:
        self._precision, self._recall = Mean(), Mean()

    def add(self, keep: BoolArray, marked: BoolArray) -> None:
        """Count one text.

        Args:
            keep: `[tokens]` bool.
            marked: `[tokens]` bool; at least one.
        """
        matched, num_kept = matched_spans(keep, marked), len(spans(keep))
        if num_kept:
            self._precision.add(matched / num_kept)
        self._recall.add(matched / len(spans(marked)))

    def value(self) -> float:
        """Return it, in [0, 1]; 0 where no span matches."""
        ends = self._precision.estimate(), self._recall.estimate()
        precision, recall = (0.0 if each is None else each.value for each in ends)
        total = precision + recall
        return 2 * precision * recall / total if total else 0.0


class PlausibilityCollector:
    """Collects the agreement with people.

    Args:
        audit: Whose texts they are.
    """

    def __init__(self, audit: Audit) -> None:
        self._threshold = np.float32(audit.threshold)
        self._num_unread = 0
        self._means = {name: Mean() for name in _MEASURES}
        self._kept_spans, self._top_spans = SpanF1(), SpanF1()

    def add(self, text: Explained) -> None:
        """Count one text, if it has a rationale."""
        if text.rationale is None:
            return
        found = read_rationale(text)
        if found is None or not found.any():
            self._num_unread += 1
            return
        is_open = can_be_marked(text)
        marked, scores = found[is_open], text.scores[is_open]
        top = np.zeros_like(marked)
        top[np.argsort(-scores, kind="stable")[: int(marked.sum())]] = True
        kept = scores >= self._threshold
        self._means["share"].add(marked.mean())
        self._means["auprc"].add(auprc(scores, marked))
        random = random_auprc(int(marked.sum()), len(marked))
        self._means["random"].add(random)
        self._means["kept"].add(token_f1(kept, marked))
        self._means["top"].add(token_f1(top, marked))
        self._kept_spans.add(kept, marked)
        self._top_spans.add(top, marked)

    def figures(self) -> Plausibility | None:
        """Return what was collected; None where no text has a rationale."""
        found = {
            name: mean.estimate(low=0, high=1) for name, mean in self._means.items()
        }
        if found["share"] is None and not self._num_unread:
            return None
        return Plausibility(
            num_texts=self._means["share"].num,
            num_unread=self._num_unread,
            marked_share=found["share"],
            auprc=found["auprc"],
            random_auprc=found["random"],
            kept_f1=found["kept"],
            kept_iou_f1=self._kept_spans.value(),
            top_f1=found["top"],
            top_iou_f1=self._top_spans.value(),
        )
