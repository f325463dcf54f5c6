"""The best span of start and end logits: what an answer is, in service and training."""

import numpy as np
from numpy.typing import NDArray


def best_span(
    logits: NDArray[np.floating],
    candidates: NDArray[np.integer],
    *,
    max_answer_tokens: int,
) -> tuple[int, int]:
    """Return first and last token of the span with the largest sum of its two logits.

    Args:
        logits: `[tokens, 2]` float. Of a start and of an end at each token.
        candidates: Positions at which an answer may start and end, ascending, side by
            side, at least one: the tokens of the context.
        max_answer_tokens: Longest answer, tokens, >= 1.

    Returns:
        Positions in the text, the first not behind the last; of several best spans the
        one that starts first, and of those the shortest.
    """
    starts, ends = logits[candidates].T
    sums = starts[:, np.newaxis] + ends  # [start, end]
    length = np.arange(len(candidates)) - np.arange(len(candidates))[:, np.newaxis]
    is_valid = (length >= 0) & (length < max_answer_tokens)
    best = int(np.where(is_valid, sums, -np.inf).argmax())
    start, end = divmod(best, len(candidates))
    return int(candidates[start]), int(candidates[end])
