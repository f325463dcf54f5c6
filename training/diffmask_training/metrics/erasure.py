"""What the top of a ranking is worth: the model without it, and with nothing else.

One run of the model serves all figures here. Notation of their formulas: c is the label
predicted from the whole text x, f_c its probability, R the top tokens, x-R the text
without them and x_R the text of nothing but them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.probabilities import (
    NOISE,
    Predict,
    log_probability,
    predicted,
)
from diffmask_training.metrics.rankings import ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One text with more and more of its top tokens removed, or alone.

    The axis `counts` runs over sizes of R.

    Attributes:
        num_tokens: Tokens of the text, >= 1.
        counts: `[counts]` int64. Tokens in R, in [0, num_tokens].
        label: c, the label predicted from the whole text.
        whole: f_c(x), in (0, 1].
        empty: f_c of the text with every token removed, in [0, 1].
        without: `[counts]` float64. f_c(x-R), in [0, 1].
        only: `[counts]` float64. f_c(x_R), in [0, 1].
        labels_without: `[counts]` int64. Labels predicted from x-R.
    """

    num_tokens: int
    counts: NDArray[np.int64]
    label: int
    whole: float
    empty: float
    without: NDArray[np.float64]
    only: NDArray[np.float64]
    labels_without: NDArray[np.int64]


def erase(
    predict: Predict, scores: NDArray[np.floating], *, counts: Sequence[int]
) -> Erasure:
    """Run a model on a text without its top tokens, and on nothing but them.

    Args:
        predict: The model on this text.
        scores: `[tokens]` float. The higher, the more important.
        counts: Sizes of R, from `Thresholds.counts` for instance; may be empty.

    Raises:
        MetricError: A size is not in [0, tokens], or scores or model are not sound.
    """
    masks = erasure_masks(scores, counts=counts)
    rows = predicted(predict, masks)
    label = int(rows[0].argmax())
    without, only = np.split(rows[2:], 2)
    return Erasure(
        num_tokens=masks.shape[1],
        counts=np.array(counts, dtype=np.int64),
        label=label,
        whole=float(rows[0, label]),
        empty=float(rows[1, label]),
        without=without[:, label],
        only=only[:, label],
        labels_without=without.argmax(axis=-1),
    )


def erasure_masks(
    scores: NDArray[np.floating], *, counts: Sequence[int]
) -> NDArray[np.bool_]:
    """Return every mask that `erase` runs, so that many orders can share a run.

    Args:
        scores: `[tokens]` float. The higher, the more important.
        counts: Sizes of R.

    Returns:
        `[2 + 2 counts, tokens]` bool, True where a token is kept: the whole text, the
        empty one, the text without R and R alone.

    Raises:
        MetricError: A size is not in [0, tokens], or scores are not sound.
    """
    places = ranks(scores)
    sizes = np.array(counts, dtype=np.int64)
    if np.any((sizes < 0) | (sizes > len(places))):
        raise MetricError(f"{list(counts)} of {len(places)} tokens cannot be removed")
    top = places < sizes[:, None]  # [counts, tokens]
    whole = np.ones((1, len(places)), dtype=np.bool_)
    return np.concatenate([whole, ~whole, ~top, top])


def comprehensiveness(erasure: Erasure) -> NDArray[np.float64]:
    """Return f_c(x) - f_c(x-R), `[counts]` in [-1, 1]; high when R was needed.

    Source: DeYoung et al. 2020, "ERASER", the section on measuring faithfulness.
    """
    return erasure.whole - erasure.without


def sufficiency(erasure: Erasure) -> NDArray[np.float64]:
    """Return f_c(x) - f_c(x_R), `[counts]` in [-1, 1]; low when R is enough.

    Source: DeYoung et al. 2020, "ERASER", the section on measuring faithfulness.
    """
    return erasure.whole - erasure.only


def aopc(values: NDArray[np.float64]) -> float | None:
    """Return the mean over sizes of R; None when there is no size.

    Over 1 to all tokens, comprehensiveness gives the AOPC that `naopc` normalises.

    Args:
        values: `[counts]` float64. Comprehensiveness or sufficiency.

    Source: DeYoung et al. 2020, "ERASER"; the plain mean, as in their code and ferret.
    """
    return float(values.mean()) if values.size else None


def normalised_comprehensiveness(erasure: Erasure) -> NDArray[np.float64] | None:
    """Return max(0, f_c(x) - f_c(x-R)) / (1 - S0), `[counts]` in [0, 1]; high is good.

    S0 = 1 - max(0, f_c(x) - f_c(empty)). None where S0 is 1: a model that is as sure
    when it reads nothing cannot show what a token is worth.

    Source: Carton et al. 2020, "Evaluating and Characterizing Human Rationales".
        Clipped at 1, or texts with an S0 near 1 would rule every mean.
    """
    worth = worth_of_all(erasure.whole, erasure.empty)
    if worth is None:
        return None
    return np.clip(comprehensiveness(erasure) / worth, 0.0, 1.0)


def normalised_sufficiency(erasure: Erasure) -> NDArray[np.float64] | None:
    """Return (S - S0) / (1 - S0), `[counts]` in [0, 1]; high is good.

    S = 1 - max(0, f_c(x) - f_c(x_R)), and S0 the same of the empty text. None where S0
    is 1, as for comprehensiveness.

    Source: Carton et al. 2020, "Evaluating and Characterizing Human Rationales".
        Clipped at 0, where R is worse than nothing, as released code does.
    """
    worth = worth_of_all(erasure.whole, erasure.empty)
    if worth is None:
        return None
    return np.clip(1 - sufficiency(erasure) / worth, 0.0, 1.0)


def worth_of_all(whole: float, empty: float) -> float | None:
    """Return 1 - S0, how much probability all tokens are worth; None when S0 is 1.

    Args:
        whole: f_c(x), in [0, 1].
        empty: f_c of the text with every token removed, in [0, 1].
    """
    worth = max(0.0, whole - empty)
    return worth if worth > NOISE else None


def log_odds(erasure: Erasure) -> NDArray[np.float64]:
    """Return log(f_c(x-R) / f_c(x)), `[counts]` nats; low when R was needed.

    Source: Sanyal and Ren 2021, "Discretized Integrated Gradients", who name it after
        Shrikumar et al. 2017.
    """
    return log_probability(erasure.without) - log_probability(np.array(erasure.whole))


def is_flipped(erasure: Erasure) -> NDArray[np.bool_]:
    """Return whether the label predicted from x-R is another, `[counts]`.

    Its mean over texts is the share flipped at each share of the tokens, so long as all
    texts have the same sizes of R: one share at a time for texts of any length.
    """
    flipped: NDArray[np.bool_] = erasure.labels_without != erasure.label
    return flipped


def share_to_flip(erasure: Erasure) -> float | None:
    """Return the smallest share of the tokens whose removal changes the label.

    In (0, 1], among the sizes of R that were run; None when none of them does.

    Source: the tokens to flip of the ERASER code, as a share.
    """
    flipping = erasure.counts[is_flipped(erasure)]
    return float(flipping.min() / erasure.num_tokens) if flipping.size else None
