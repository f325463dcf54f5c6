"""Gates of several texts, added up over the tokens of each in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.alignment import aggregate_scores, hard_mask
from diffmask_service.core.predictions import Float32Array, Int64Array

# At most the first or at least the second, a gate says all that it can.
_SHUT, _OPEN = np.float32(0.01), np.float32(0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSums:
    """Sums over the tokens of each text, special tokens counted.

    Attributes:
        num_tokens: `[texts]` int64. Tokens, >= 1.
        openness: `[layers, texts]` float64. Expected gate values.
        kept: `[layers, texts]` int64. Tokens that the hard mask keeps.
        saturated: `[layers, texts]` int64. Tokens whose gate is at most 0.01 or at
            least 0.99.
        kept_by_all: `[texts]` int64. Tokens that the hard mask of the mean over all
            states keeps; of input gates, that is the aggregate score.
    """

    num_tokens: Int64Array
    openness: NDArray[np.float64]
    kept: Int64Array
    saturated: Int64Array
    kept_by_all: Int64Array

    @property
    def figures(self) -> NDArray[np.float64]:
        """`[figures, layers, texts]`: kept share and mean gate, in [0, 1]."""
        return np.stack([self.kept, self.openness]) / self.num_tokens


def sum_gates(gates: Sequence[Float32Array], *, threshold: float) -> GateSums:
    """Add up the gates of texts.

    Args:
        gates: For each text, at least one, `[layers, tokens]` float32 in [0, 1]: all
            states.
        threshold: A token at or over it is kept, in [0, 1].
    """
    num_tokens = np.array([each.shape[1] for each in gates], dtype=np.int64)
    starts = num_tokens.cumsum() - num_tokens
    values = np.concatenate(gates, axis=1)  # [layers, tokens]

    def by_text(marks: NDArray[np.bool_]) -> Int64Array:
        return np.add.reduceat(marks, starts, axis=-1, dtype=np.int64)

    return GateSums(
        num_tokens=num_tokens,
        openness=np.add.reduceat(values, starts, axis=1, dtype=np.float64),
        kept=by_text(hard_mask(values, threshold=threshold)),
        saturated=by_text((values <= _SHUT) | (values >= _OPEN)),
        kept_by_all=by_text(hard_mask(aggregate_scores(values), threshold=threshold)),
    )
