"""Shares and means with intervals of 95 %, from running sums.

A share has Wilson's interval; a mean over texts has Student's, from the spread between
texts. Both treat texts as drawn independently.
"""

import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Sums: TypeAlias = NDArray[np.float64]
# The 97.5 % point of the normal distribution.
_QUANTILE = 1.959963984540054
# Those of Student's distribution with one and two degrees of freedom, and for more the
# coefficients of its expansion about the normal one.
_STUDENT_EXACT = (12.706204736174694, 4.302652729749462)
_STUDENT_EXPANSION = (
    (_QUANTILE**3 + _QUANTILE) / 4,
    (5 * _QUANTILE**5 + 16 * _QUANTILE**3 + 3 * _QUANTILE) / 96,
    (3 * _QUANTILE**7 + 19 * _QUANTILE**5 + 17 * _QUANTILE**3 - 15 * _QUANTILE) / 384,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end of the interval.
        num: How many texts it is of.
    """

    value: float
    low: float
    high: float
    num: int


def share(count: int, num: int) -> Estimate | None:
    """Return a share with Wilson's interval, or None where it is of nothing.

    Args:
        count: Cases that count, in [0, num].
        num: All cases.

    Source:
        Wilson 1927, the score interval, without correction for continuity.
    """
    if num == 0:
        return None
    value, square = count / num, _QUANTILE**2
    centre = (value + square / (2 * num)) / (1 + square / num)
    half = _QUANTILE * math.sqrt(value * (1 - value) / num + (square / num / num) / 4)
    half /= 1 + square / num
    return Estimate(
        value=value,
        # Exactly 0 and 1 at the ends, where rounding could leave the value outside.
        low=0.0 if count == 0 else max(0.0, centre - half),
        high=1.0 if count == num else min(1.0, centre + half),
        num=num,
    )


@dataclass(slots=True)
class Mean:
    """A running mean of numbers, or of arrays of one shape, over texts."""

    num: int = 0
    _mean: _Sums = field(default_factory=lambda: np.zeros(()))
    _squares: _Sums = field(default_factory=lambda: np.zeros(()))

    def add(self, value: Any) -> None:
        """Count one text.

        Args:
            value: A number or an array, of one shape throughout.
        """
        self.num += 1
        # Welford's way: a sum of squares would lose small spreads about large means.
        delta = np.asarray(value, dtype=np.float64) - self._mean
        self._mean = self._mean + delta / self.num
        self._squares = self._squares + delta * (value - self._mean)

    def estimate(
        self, *, low: float = -math.inf, high: float = math.inf
    ) -> Estimate | None:
        """Return the mean of numbers with its interval, or None without any.

        Args:
            low: The least value that a number can have; the interval ends there.
            high: The largest one.
        """
        found = self.estimates(low=low, high=high)
        return found[0] if found else None

    def estimates(
        self, *, low: float = -math.inf, high: float = math.inf
    ) -> tuple[Estimate, ...]:
        """Return one estimate an element of the arrays; none without any arrays.

        With one text there is no spread: the interval is then all that is possible,
        or the value itself where no bounds are known.

        Args:
            low: The least value that an element can have; intervals end there.
            high: The largest one.
        """
        if not self.num:
            return ()
        means, squares = np.atleast_1d(self._mean), np.atleast_1d(self._squares)
        return tuple(
            estimate_mean(mean, square, self.num, low=low, high=high)
            for mean, square in zip(means.tolist(), squares.tolist(), strict=True)
        )


@dataclass(slots=True)
class MeanOfNumbers:
    """The same as `Mean` for plain numbers, of which there are many: small and fast."""

    num: int = 0
    _mean: float = 0.0
    _squares: float = 0.0

    def add(self, value: float) -> None:
        """Count one text."""
        self.num += 1
        delta = value - self._mean
        self._mean += delta / self.num
        self._squares += delta * (value - self._mean)

    def estimate(
        self, *, low: float = -math.inf, high: float = math.inf
    ) -> Estimate | None:
        """Return the mean with its interval, or None without any numbers."""
        if not self.num:
            return None
        return estimate_mean(self._mean, self._squares, self.num, low=low, high=high)


def estimate_mean(
    mean: float, squares: float, num: int, *, low: float, high: float
) -> Estimate:
    """Return a mean with Student's interval.

    Args:
        mean: The mean.
        squares: Sum of the squared differences from it, >= 0.
        num: How many numbers, >= 1.
        low: The least value that one can have.
        high: The largest one.
    """
    if num == 1:
        half = math.inf if low > -math.inf else 0.0
    else:
        half = student_quantile(num - 1) * math.sqrt(squares / (num - 1) / num)
    return Estimate(
        value=mean, low=max(low, mean - half), high=min(high, mean + half), num=num
    )


def student_quantile(degrees: int) -> float:
    """Return the 97.5 % point of Student's distribution, to one percent.

    Args:
        degrees: Of freedom, >= 1.

    Source:
        Abramowitz and Stegun 1964, 26.7.5, without the last term.
    """
    if degrees <= len(_STUDENT_EXACT):
        return _STUDENT_EXACT[degrees - 1]
    return _QUANTILE + sum(
        coefficient / float(degrees) ** power
        for power, coefficient in enumerate(_STUDENT_EXPANSION, start=1)
    )
