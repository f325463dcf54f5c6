"""AOPC between the least and the most that any order of the tokens reaches."""

from dataclasses import dataclass

import numpy as np

from diffmask_training.errors import MetricError
from diffmask_training.metrics.probabilities import NOISE, Predict, predicted

# All subsets of 12 tokens are 4096 runs of the model.
EXACT_MAX_TOKENS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class AopcLimits:
    """What AOPC over removing 1 to all tokens can be for one text and model.

    Attributes:
        lower: Least over orders, or a value above it when a beam searched.
        upper: Most over orders, or a value below it when a beam searched.
    """

    lower: float
    upper: float


def aopc_limits(
    predict: Predict, num_tokens: int, *, beam_width: int | None = None
) -> AopcLimits:
    """Search the orders of removal with the least and with the most AOPC.

    What is yet to come depends on which tokens are gone, not on their order, so of all
    orders that remove the same set only the best is followed. Without a limit on the
    sets this is exact after 2^tokens runs of the model rather than tokens! of them.

    Args:
        predict: The model on this text.
        num_tokens: Tokens of the text, >= 1.
        beam_width: How many sets of each size are followed; None for all of them,
            which is exact.

    Raises:
        MetricError: There is no token, or too many for the exact search.

    Source:
        Edin et al. 2025, "Normalized AOPC". Their exact search enumerates orders, their
        beam may follow several orders of one set; the limits are the same or closer.
    """
    if num_tokens < 1 or (beam_width is not None and beam_width < 1):
        raise MetricError(
            "limits of AOPC need at least one token and one set to follow"
        )
    if beam_width is None and num_tokens > EXACT_MAX_TOKENS:
        raise MetricError(
            f"exact limits need at most {EXACT_MAX_TOKENS} tokens, not {num_tokens};"
            " set a beam width"
        )
    drops = _Drops(predict, num_tokens)
    lower, upper = (
        sign * _best_sum(drops, sign=sign, beam_width=beam_width) / num_tokens
        for sign in (-1, 1)
    )
    return AopcLimits(lower=lower, upper=upper)


def naopc(aopc: float, limits: AopcLimits) -> float | None:
    """Return where AOPC lies between its limits, in [0, 1] when they are exact.

    Of tokens removed from the highest score down it is normalised comprehensiveness, of
    tokens removed from the lowest up (negated scores) normalised sufficiency.

    Args:
        aopc: Mean comprehensiveness over removing 1 to all tokens.
        limits: Of the same text and model.

    Returns:
        None when all orders give the same, as with one token.

    Source: Edin et al. 2025, "Normalized AOPC".
    """
    width = limits.upper - limits.lower
    return (aopc - limits.lower) / width if width > NOISE else None


class _Drops:
    """f_c(x) - f_c of the text without a set of tokens, each set run once.

    A set is an integer, bit i for token i.
    """

    def __init__(self, predict: Predict, num_tokens: int) -> None:
        self._predict = predict
        self.num_tokens = num_tokens
        whole = predicted(predict, np.ones((1, num_tokens), dtype=np.bool_))[0]
        self._label = int(whole.argmax())
        self._whole = float(whole[self._label])
        self._known: dict[int, float] = {}

    def of(self, removed: list[int]) -> list[float]:
        """Return the drop of each set."""
        new = [key for key in removed if key not in self._known]
        if new:
            bits = 1 << np.arange(self.num_tokens, dtype=object)
            gone = (np.array(new, dtype=object)[:, None] & bits).astype(np.bool_)
            rows = predicted(self._predict, ~gone)[:, self._label]
            self._known |= dict(zip(new, (self._whole - rows).tolist(), strict=True))
        return [self._known[key] for key in removed]


def _best_sum(drops: _Drops, *, sign: int, beam_width: int | None) -> float:
    """Return the largest sum of signed drops along an order that a search finds."""
    sums = {0: 0.0}
    for _ in range(drops.num_tokens):
        grown: dict[int, float] = {}
        for removed, total in sums.items():
            for token in range(drops.num_tokens):
                key = removed | 1 << token
                if key != removed:
                    grown[key] = max(total, grown.get(key, total))
        for key, drop in zip(grown, drops.of(list(grown)), strict=True):
            grown[key] += sign * drop
        best = sorted(grown.items(), key=lambda pair: -pair[1])[:beam_width]
        sums = dict(best)
    return next(iter(sums.values()))
