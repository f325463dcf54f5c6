"""Exact quantiles of more numbers than fit into memory, in two passes."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from diffmask_service.core.predictions import Float32Array

_BUCKETS = 1 << 16


def exact_quantiles(
    read: Callable[[], Iterable[Float32Array]], shares: Sequence[float]
) -> tuple[float, ...]:
    """Return quantiles of numbers that are not negative.

    Memory does not depend on how many there are: the bits of such numbers sort like the
    numbers, so one pass counts the upper half of the bits, a second one the lower half
    in the few places that hold a quantile.

    Args:
        read: Gives the numbers, `[values]` float32 at a time, the same at every call.
        shares: For each quantile the share of numbers at or below it, in (0, 1].

    Returns:
        For each share the smallest number with at least this share at or below it;
        empty where there are no numbers.
    """
    upper = np.zeros(_BUCKETS, dtype=np.int64)
    for values in read():
        upper += np.bincount(_bits(values) >> 16, minlength=_BUCKETS)
    total = int(upper.sum())
    if not total:
        return ()
    ranks = [max(1, int(np.ceil(share * total))) for share in shares]
    ends = np.cumsum(upper)
    buckets = [int(np.searchsorted(ends, rank)) for rank in ranks]
    lower = {bucket: np.zeros(_BUCKETS, dtype=np.int64) for bucket in set(buckets)}
    for values in read():
        bits = _bits(values)
        for bucket, counts in lower.items():
            inside = bits[bits >> 16 == bucket] & (_BUCKETS - 1)
            np.add(counts, np.bincount(inside, minlength=_BUCKETS), out=counts)
    found = [
        bucket << 16
        | int(
            np.searchsorted(
                np.cumsum(lower[bucket]), rank - (ends[bucket] - upper[bucket])
            )
        )
        for rank, bucket in zip(ranks, buckets, strict=True)
    ]
    return tuple(np.array(found, dtype=np.uint32).view(np.float32).tolist())


def _bits(values: Float32Array) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    # Adding zero turns a negative zero into a positive one.
    return (values + np.float32(0)).view(np.uint32).astype(np.int64)
