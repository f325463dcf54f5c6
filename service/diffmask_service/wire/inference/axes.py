"""Where the tokens, units or words of each text stand on the axis of a whole batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffmask_service.core.predictions import Int64Array
from diffmask_service.wire.inference.tensors import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis that every text of a batch fills in part.

    Attributes:
        size: Its size.
        positions: For each text where its elements stand, ascending.
    """

    size: int
    positions: tuple[Int64Array, ...]

    @property
    def mask(self) -> Array:
        """`[batch, size]` bool. Where an element stands."""
        mask = np.zeros((len(self.positions), self.size), dtype=np.bool_)
        for row, positions in zip(mask, self.positions, strict=True):
            row[positions] = True
        return mask

    def spread(self, rows: Sequence[Array], *, fill: Any = 0) -> Array:
        """Return one array for all texts.

        Args:
            rows: For each text an array whose first axis are its elements.
            fill: What stands where there is none.

        Returns:
            `[batch, size, ...]`.
        """
        shape = (len(rows), self.size, *rows[0].shape[1:])
        spread = np.full(shape, fill, dtype=rows[0].dtype)
        for target, positions, row in zip(spread, self.positions, rows, strict=True):
            target[positions] = row
        return spread


def padded(sizes: Sequence[int]) -> Axis:
    """Return the axis of the longest text, each text padded behind its last element.

    Args:
        sizes: Elements of each text, at least one text.
    """
    positions = tuple(np.arange(size, dtype=np.int64) for size in sizes)
    return Axis(size=max(sizes), positions=positions)
