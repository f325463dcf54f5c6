"""Means over texts with bootstrap intervals, beside those of random orders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.rankings import checked_scores

# A figure of all texts at once. From `[resamples, texts]` float64, how often each text
# counts, to `[resamples]` float64, NaN where the figure is not defined.
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

# The ends of a 95 % interval are then steady to a few hundredths of its width.
_RESAMPLES = 1999
# Resamples are drawn in blocks, or many texts would need much memory.
_BLOCK = 10**6


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
    resamples: int = _RESAMPLES,
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

    Source: Efron and Tibshirani 1993, chapter 13.
    """
    defined = np.array([value for value in values if value is not None])
    (found,) = _estimates(
        defined[None],
        num_texts=len(values),
        generator=generator,
        confidence=confidence,
        resamples=resamples,
    )
    return found


def estimate_over_texts(
    statistic: Statistic,
    num_texts: int,
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = _RESAMPLES,
) -> Estimate:
    """Return a figure of many texts at once, and its percentile bootstrap interval.

    For figures that are no mean over texts: a ratio of sums, an area between mean
    curves.

    Args:
        statistic: The figure.
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
    whole = statistic(np.ones((1, num_texts)))[0] if num_texts > 1 else np.nan
    if not np.isfinite(whole):
        raise MetricError(
            f"an interval needs a finite figure of two texts or more, not {whole} of"
            f" {num_texts}"
        )
    drawn = _resampled(statistic, num_texts, generator, resamples)
    defined = drawn[np.isfinite(drawn)]
    low, high = _ends(defined if defined.size else np.array([whole]), confidence)
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
        (score, control, score - control)
        for score, control in zip(scores, controls, strict=True)
        if score is not None and control is not None
    ]
    # One set of resamples serves all three.
    score, control, gain = _estimates(
        np.array(pairs).reshape(-1, 3).T,
        num_texts=len(scores),
        generator=generator,
        confidence=0.95,
        resamples=_RESAMPLES,
    )
    return Comparison(score=score, control=control, gain=gain)


def _estimates(
    columns: NDArray[np.float64],
    *,
    num_texts: int,
    generator: np.random.Generator,
    confidence: float,
    resamples: int,
) -> list[Estimate]:
    """Return the mean of each figure, `[figures, texts where all are defined]`."""
    num_defined = columns.shape[1]
    if num_defined < 2 or not np.isfinite(columns).all():
        raise MetricError(
            "an interval needs finite values of two texts or more, not of"
            f" {num_defined} among {num_texts}"
        )
    # Of equal values any weighted mean is that value, but for rounding.
    centre = columns[:, :1]
    drawn = _resampled(
        lambda weights: weights @ (columns - centre).T / num_defined,
        num_defined,
        generator,
        resamples,
    )  # [resamples, figures]
    lows, highs = _ends(drawn, confidence) + centre[:, 0]
    return [
        Estimate(
            mean=float(mean),
            low=float(low),
            high=float(high),
            num_texts=num_defined,
            num_undefined=num_texts - num_defined,
        )
        for mean, low, high in zip(columns.mean(axis=1), lows, highs, strict=True)
    ]


def _resampled(
    statistic: Statistic,
    num_texts: int,
    generator: np.random.Generator,
    resamples: int,
) -> NDArray[np.float64]:
    blocks = _weights(num_texts, generator, resamples)
    return np.concatenate([statistic(weights) for weights in blocks])


def _weights(
    num_texts: int, generator: np.random.Generator, resamples: int
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each resample draws each text, `[some resamples, texts]`."""
    rows = max(1, _BLOCK // num_texts)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = generator.integers(num_texts, size=(count, num_texts))
        drawn += num_texts * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * num_texts)
        yield counts.reshape(count, num_texts).astype(np.float64)


def _ends(drawn: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """Return both ends of a percentile interval, `[2, ...]`."""
    tail = (1 - confidence) / 2
    ends: NDArray[np.float64] = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return ends
