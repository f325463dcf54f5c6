"""Tokens and words."""

import numpy as np

from diffmask_service.core.predictions import Units
from diffmask_service.wire.converters.arrays import malformed
from diffmask_service.wire.pb import explain_pb2 as pb


def units_to_proto(units: Units) -> pb.Units:
    """Write tokens or words."""
    return pb.Units(
        texts=units.texts,
        starts=units.starts.tolist(),
        ends=units.ends.tolist(),
        segments=units.segments.tolist(),
        is_special=units.is_special.tolist(),
    )


def units_from_proto(message: pb.Units) -> Units:
    """Parse tokens or words.

    Raises:
        ServerError: The arrays differ in size.
    """
    sizes = {
        len(message.texts),
        len(message.starts),
        len(message.ends),
        len(message.segments),
        len(message.is_special),
    }
    if len(sizes) > 1:
        raise malformed(f"units whose arrays have sizes {sorted(sizes)}")
    return Units(
        texts=tuple(message.texts),
        starts=np.array(message.starts, dtype=np.int64),
        ends=np.array(message.ends, dtype=np.int64),
        segments=np.array(message.segments, dtype=np.int64),
        is_special=np.array(message.is_special, dtype=np.bool_),
    )
