"""Means over texts with bootstrap intervals, beside those of random orders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over texts, or another figure of all of them.

    Attributes:
        mean: Over the texts where the figure is defined.
        low: Lower end of its interval.
        high: Upper end of its interval.
        num_texts: Texts where the figure is defined.
        num_undefined: Texts where it is not.
    """

    mean: float
    low: float
    high: float
    num_texts: int
    num_undefined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A score beside its random-order control.

    Attributes:
        score: Of the explanations.
        control: Of random orders of the same texts.
        gain: Score minus control, text by text; chance is ruled out when its interval
            leaves out 0.
    """

    score: Estimate
    control: Estimate
    gain: Estimate


def estimate(
    values: Sequence[float | None],
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 9999,
) -> Estimate:
    """Return a mean over texts and its percentile bootstrap interval.

    Args:
        values: One for each text; None where the figure is not defined.
        generator: Source of randomness.
        confidence: Of the interval, in (0, 1).
        resamples: Of the texts, >= 1.

    Raises:
        MetricError: The figure is defined on fewer than two texts (one text has no
            spread to resample), or a value is not finite.

    Source: Efron and Tibshirani 1993, chapter 13, by scipy.
    """
    defined = np.array([value for value in values if value is not None])
    if len(defined) < 2 or not np.isfinite(defined).all():
        raise MetricError(
            "an interval needs finite values of two texts or more, not of"
            f" {len(defined)} among {len(values)}"
        )
    interval = bootstrap(
        (defined,),
        np.mean,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        # Resamples are drawn in blocks, or many texts would need much memory.
        batch=max(1, 10**7 // len(defined)),
        rng=generator,
    ).confidence_interval
    return Estimate(
        mean=float(defined.mean()),
        low=float(interval.low),
        high=float(interval.high),
        num_texts=len(defined),
        num_undefined=len(values) - len(defined),
    )


def estimate_over_texts(
    statistic: Callable[[NDArray[np.int64]], float | None],
    num_texts: int,
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 1999,
) -> Estimate:
    """Return a figure of many texts at once, and its percentile bootstrap interval.

    For figures that are no mean over texts: a ratio of sums, an area between mean
    curves.

    Args:
        statistic: The figure of the texts with these indices, `[batch]` int64, which
            may repeat; None where it is not defined.
        num_texts: Texts in all, >= 2.
        generator: Source of randomness.
        confidence: Of the interval, in (0, 1).
        resamples: Of the texts, >= 1. Those that leave the figure undefined are passed
            over.

    Raises:
        MetricError: There are fewer than two texts, or the figure is not defined on all
            of them, or not finite.

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    whole = statistic(np.arange(num_texts)) if num_texts > 1 else None
    if whole is None or not np.isfinite(whole):
        raise MetricError(
            f"an interval needs a finite figure of two texts or more, not {whole} of"
            f" {num_texts}"
        )
    drawn = (
        statistic(generator.integers(num_texts, size=num_texts))
        for _ in range(resamples)
    )
    defined = [value for value in drawn if value is not None]
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined or [whole], [tail, 1 - tail])
    return Estimate(
        mean=float(whole),
        low=float(low),
        high=float(high),
        num_texts=num_texts,
        num_undefined=0,
    )


def random_control(
    score: Callable[[NDArray[np.float64]], float | None],
    scores: NDArray[np.floating],
    *,
    draws: int,
    generator: np.random.Generator,
) -> float | None:
    """Return the mean of a figure of one text with its scores dealt out at random.

    The values stay what they are, so figures that read more than the order have their
    control too. Scores that are all equal are their own control, and gain nothing.

    Args:
        score: The figure as a function of the scores, `[tokens]` float64.
        scores: `[tokens]` float. Of the explanation.
        draws: How often they are dealt out, >= 1.
        generator: Source of randomness.

    Returns:
        None when the figure is undefined every time.

    Raises:
        MetricError: The scores are not finite, or there are none.
    """
    values = checked_scores(scores)
    if draws < 1:
        raise MetricError(f"draws must be at least 1, not {draws}")
    drawn = [score(generator.permutation(values)) for _ in range(draws)]
    defined = [value for value in drawn if value is not None]
    return float(np.mean(defined)) if defined else None


def compare(
    scores: Sequence[float | None],
    controls: Sequence[float | None],
    *,
    generator: np.random.Generator,
) -> Comparison:
    """Set a figure beside its control; a text where either is undefined counts in none.

    Args:
        scores: One for each text.
        controls: Of the same texts, from `random_control`.
        generator: Source of randomness.

    Raises:
        MetricError: There are fewer than two texts where both are defined.
    """
    pairs = [
        (score, control)
        for score, control in zip(scores, controls, strict=True)
        if score is not None and control is not None
    ]
    undefined = [None] * (len(scores) - len(pairs))
    columns = [
        [score for score, _ in pairs],
        [control for _, control in pairs],
        [score - control for score, control in pairs],
    ]
    score, control, gain = (
        estimate([*column, *undefined], generator=generator) for column in columns
    )
    return Comparison(score=score, control=control, gain=gain)
