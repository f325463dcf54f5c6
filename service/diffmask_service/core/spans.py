"""The best span of start and end logits: what an answer is, in service and training."""

import numpy as np
from numpy.typing import NDArray

# Models that may find no answer point at their first token, a special one.
NO_ANSWER_TOKEN = 0


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


def find_answer(
    logits: NDArray[np.floating],
    candidates: NDArray[np.integer],
    *,
    max_answer_tokens: int,
    no_answer_threshold: float | None,
) -> tuple[int, int] | None:
    """Return first and last token of the answer, or None where there is none.

    Args:
        logits: `[tokens, 2]` float. Of a start and of an end at each token.
        candidates: Positions at which an answer may start and end, as `best_span` takes
            them.
        max_answer_tokens: Longest answer, tokens, >= 1.
        no_answer_threshold: There is no answer where the two logits of the first token
            sum to more than those of the best span and this; None where every question
            has one.

    Source:
        Devlin et al. 2019, section 4.3: the span of no answer starts and ends at the
        first token, and wins by a threshold.
    """
    first, last = best_span(logits, candidates, max_answer_tokens=max_answer_tokens)
    if no_answer_threshold is None:
        return first, last
    best = float(logits[first, 0] + logits[last, 1])
    none = float(logits[NO_ANSWER_TOKEN].sum())
    return None if none - best > no_answer_threshold else (first, last)
