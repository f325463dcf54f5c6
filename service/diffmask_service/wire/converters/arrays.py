"""Float arrays as packed little-endian float32 bytes.

One memory copy instead of one varint-tagged value after another: a reply's gates are by
far its largest part.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.predictions import Float32Array
from diffmask_service.errors import ServerError

_WIRE_DTYPE = np.dtype("<f4")


def pack(values: NDArray[np.floating]) -> bytes:
    """Return an array's values, row-major, as little-endian float32.

    Args:
        values: Any shape.
    """
    return np.ascontiguousarray(values, dtype=_WIRE_DTYPE).tobytes()


def unpack(raw: bytes, shape: Sequence[int], name: str) -> Float32Array:
    """Return the array behind packed bytes, writable and in native byte order.

    Args:
        raw: Little-endian float32, row-major.
        shape: Size of each axis.
        name: Name of the field, for the error message.

    Raises:
        ServerError: The bytes do not fill the shape exactly.
    """
    expected_bytes = math.prod(shape) * _WIRE_DTYPE.itemsize
    if len(raw) != expected_bytes:
        raise malformed(
            f"{name} of {len(raw)} bytes, whose shape {list(shape)} takes"
            f" {expected_bytes}"
        )
    return np.frombuffer(raw, dtype=_WIRE_DTYPE).astype(np.float32).reshape(shape)


def malformed(what: str) -> ServerError:
    """Return the error of a reply whose parts contradict each other."""
    return ServerError(f"malformed reply: it holds {what}", code="DATA_LOSS")
