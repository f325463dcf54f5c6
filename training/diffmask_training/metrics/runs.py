"""Runs of kept tokens in a mask."""

import numpy as np
from numpy.typing import NDArray


def run_bounds(keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return where runs of kept tokens start, and where they have ended.

    Args:
        keep: `[tokens]` bool.

    Returns:
        `[2, runs]` int64. Run i is `keep[starts[i]:ends[i]]`.
    """
    changes = np.diff(np.concatenate([[0], keep.astype(np.int8), [0]]))
    return np.stack([np.flatnonzero(changes == 1), np.flatnonzero(changes == -1)])
