"""Tensors: typed contents or raw bytes to arrays, and back.

Raw values are row-major and little-endian; of BYTES each element stands behind its
length, 4 bytes little-endian. Source: the protocol's binary tensor data extension.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.errors import InvalidInput
from diffmask_service.wire.inference import messages as pb

Array: TypeAlias = NDArray[Any]
_LENGTH = struct.Struct("<I")


class Datatype(StrEnum):
    """What an element of a tensor is, of the protocol's names those in use."""

    BOOL = "BOOL"
    INT32 = "INT32"
    INT64 = "INT64"
    FP32 = "FP32"
    BYTES = "BYTES"


# BYTES are arrays of objects, each `bytes`.
_DTYPE_BY_DATATYPE: Mapping[Datatype, np.dtype[Any]] = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.INT32: np.dtype("<i4"),
    Datatype.INT64: np.dtype("<i8"),
    Datatype.FP32: np.dtype("<f4"),
    Datatype.BYTES: np.dtype(object),
}
_FIELD_BY_DATATYPE: Mapping[Datatype, str] = {
    Datatype.BOOL: "bool_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.BYTES: "bytes_contents",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """An array with its name.

    Attributes:
        name: Its name.
        datatype: What an element is.
        values: Any shape; of BYTES an array of objects.
    """

    name: str
    datatype: Datatype
    values: Array


def bytes_array(elements: Sequence[bytes]) -> Array:
    """Return a BYTES array with one axis."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def pack(tensor: Tensor) -> bytes:
    """Return a tensor's values as raw bytes."""
    if tensor.datatype is Datatype.BYTES:
        return b"".join(
            _LENGTH.pack(len(element)) + element for element in tensor.values.flat
        )
    dtype = _DTYPE_BY_DATATYPE[tensor.datatype]
    return np.ascontiguousarray(tensor.values, dtype=dtype).tobytes()


def unpack(raw: bytes, datatype: Datatype, shape: Sequence[int], where: str) -> Array:
    """Return the array behind raw bytes.

    Args:
        raw: Values of the whole tensor.
        datatype: What an element is.
        shape: Size of each axis, >= 0.
        where: Name of the tensor, for error messages.

    Raises:
        InvalidInput: The bytes do not fill the shape exactly.
    """
    if datatype is Datatype.BYTES:
        return bytes_array(_split(raw, math.prod(shape), where)).reshape(shape)
    dtype = _DTYPE_BY_DATATYPE[datatype]
    expected_bytes = math.prod(shape) * dtype.itemsize
    if len(raw) != expected_bytes:
        raise InvalidInput(
            f"{where}: has {len(raw)} raw bytes; {datatype} of shape {list(shape)}"
            f" takes {expected_bytes}"
        )
    return (
        np.frombuffer(raw, dtype=dtype).astype(dtype.newbyteorder("=")).reshape(shape)
    )


def read_contents(
    contents: pb.InferTensorContents,
    datatype: Datatype,
    shape: Sequence[int],
    where: str,
) -> Array:
    """Return the array behind typed contents.

    Args:
        contents: Values of the whole tensor.
        datatype: What an element is.
        shape: Size of each axis, >= 0.
        where: Name of the tensor, for error messages.

    Raises:
        InvalidInput: They stand in another field, or do not fill the shape exactly.
    """
    wanted = _FIELD_BY_DATATYPE[datatype]
    others = [field.name for field, _ in contents.ListFields() if field.name != wanted]
    if others:
        raise InvalidInput(
            f"{where}: its values stand in {others[0]}; those of {datatype} go into"
            f" {wanted}"
        )
    values = list(getattr(contents, wanted))
    if len(values) != math.prod(shape):
        raise InvalidInput(
            f"{where}: has {len(values)} values in {wanted}; the shape {list(shape)}"
            f" takes {math.prod(shape)}"
        )
    if datatype is Datatype.BYTES:
        return bytes_array(values).reshape(shape)
    return np.array(values, dtype=_DTYPE_BY_DATATYPE[datatype]).reshape(shape)


def write_contents(tensor: Tensor) -> pb.InferTensorContents:
    """Return a tensor's values as typed contents."""
    values = tensor.values.ravel().tolist()
    return pb.InferTensorContents(**{_FIELD_BY_DATATYPE[tensor.datatype]: values})


def _split(raw: bytes, num_elements: int, where: str) -> list[bytes]:
    elements: list[bytes] = []
    position = 0
    while position < len(raw) and len(elements) < num_elements:
        start = position + _LENGTH.size
        # A cut-off length reads as one that reaches behind the end.
        head = raw[position:start].ljust(_LENGTH.size, b"\xff")
        position = start + _LENGTH.unpack(head)[0]
        elements.append(raw[start:position])
    if position != len(raw) or len(elements) != num_elements:
        raise InvalidInput(
            f"{where}: its raw bytes are not {num_elements} BYTES elements; put the"
            " length of each before it, as 4 bytes, the lowest first"
        )
    return elements
