"""Whether the gates of live texts still look like those of the reference texts.

Each text gives two figures in every state: the share of its tokens that the hard mask
keeps, and its mean gate. Texts are counted by their figures over fixed bins, and two
such counts are compared by the Kolmogorov-Smirnov distance, for three reasons: it needs
no more than the counts, it is calibrated for every number of texts on either side, and
bins can only make it smaller, so that its bound on false alarms holds. A population
stability index has no such bound: without any shift its mean is the number of bins
times (1/n + 1/m), which crosses the usual 0.25 for a few dozen texts.
"""

import math

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.gate_sums import sum_gates
from diffmask_service.core.predictions import Float32Array, Int64Array

# The figures of a text, in the order of the `figures` axis.
FIGURES = ("kept_share", "mean_gate")
# Close together at both ends, where the gates of deep states lie; the first bin holds
# exactly 0, and each other one its upper end.
BIN_EDGES = (
    *(0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4),
    *(0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99),
)


def gate_figures(gates: Float32Array, *, threshold: float) -> NDArray[np.float64]:
    """Return `[figures, layers]`: the figures of one text, in [0, 1].

    Args:
        gates: `[layers, tokens]` float32 in [0, 1]. All states, special tokens counted.
        threshold: A token at or over it is kept, in [0, 1].
    """
    return sum_gates([gates], threshold=threshold).figures[..., 0]


def bin_index(
    figures: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the bin of each figure.

    Args:
        figures: Any axes, in [0, 1].
        edges: `[bins - 1]` float64, rising. The upper end of each bin but the last.
    """
    return np.searchsorted(edges, figures, side="left")


def largest_gap(live: Int64Array, reference: Int64Array) -> NDArray[np.float64]:
    """Return the Kolmogorov-Smirnov distances of two sets of counts, in [0, 1].

    Args:
        live: `[..., bins]` int64, with at least one text in each row.
        reference: Likewise, of the same shape.

    Returns:
        `[...]` float64. The largest gap between the two distribution functions.
    """
    shares = [
        counts.cumsum(axis=-1) / counts.sum(axis=-1, keepdims=True)
        for counts in (live, reference)
    ]
    return np.asarray(np.abs(shares[0] - shares[1]).max(axis=-1), dtype=np.float64)


def critical_gap(num_live: int, num_reference: int, *, false_alarm: float) -> float:
    """Return the gap that two samples of one distribution hardly ever reach, > 0.

    It may be larger than 1, which no gap is: then there are too few texts to tell.

    Args:
        num_live: Live texts, >= 1.
        num_reference: Reference texts, >= 1.
        false_alarm: How often they may reach it, in (0, 1).

    Source:
        Wei and Dudley 2012, "Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities":
        P(gap >= x) <= e exp(-2 x^2 n m / (n + m)), proven for samples of equal size and
        computed there for unequal ones; far in the tail the factor e, in place of the
        limit's 2, hardly costs anything.
    """
    size = num_live * num_reference / (num_live + num_reference)
    return math.sqrt((1 - math.log(false_alarm)) / (2 * size))
