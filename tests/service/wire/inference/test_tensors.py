"""Framing of raw values, typed contents, and what is refused."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.errors import InvalidInput
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.inference.tensors import (
    Datatype,
    Tensor,
    bytes_array,
    pack,
    read_contents,
    unpack,
    write_contents,
)

ELEMENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=12)


def bytes_tensor(elements: list[bytes]) -> Tensor:
    return Tensor(name="x", datatype=Datatype.BYTES, values=bytes_array(elements))


def test_bytes_are_framed_by_their_length() -> None:
    # Worked by hand: two bytes, none, and one.
    packed = pack(bytes_tensor([b"ab", b"", b"c"]))
    assert packed == b"\x02\0\0\0ab\0\0\0\0\x01\0\0\0c"


@given(ELEMENTS)
def test_bytes_survive_the_round_trip(elements: list[bytes]) -> None:
    raw = pack(bytes_tensor(elements))
    array = unpack(raw, Datatype.BYTES, [len(elements)], "x")
    assert array.tolist() == elements


@given(ELEMENTS, st.data())
def test_bytes_that_are_cut_anywhere_are_refused(
    elements: list[bytes], data: st.DataObject
) -> None:
    raw = pack(bytes_tensor(elements))
    end = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(InvalidInput, match="x: its raw bytes are not"):
        unpack(raw[:end], Datatype.BYTES, [len(elements)], "x")


@given(ELEMENTS, st.binary(min_size=1, max_size=9))
def test_bytes_after_the_last_element_are_refused(
    elements: list[bytes], rest: bytes
) -> None:
    raw = pack(bytes_tensor(elements)) + rest
    with pytest.raises(InvalidInput, match="put the length of each before it"):
        unpack(raw, Datatype.BYTES, [len(elements)], "x")


@given(st.binary(max_size=64), st.integers(1, 2**62))
def test_no_bytes_make_the_reader_fail_otherwise(raw: bytes, count: int) -> None:
    try:
        array = unpack(raw, Datatype.BYTES, [count], "x")
    except InvalidInput:
        return
    assert pack(bytes_tensor(array.tolist())) == raw


@given(ELEMENTS)
def test_frames_are_those_of_an_independent_writer(elements: list[bytes]) -> None:
    expected = b"".join(struct.pack(f"<I{len(e)}s", len(e), e) for e in elements)
    assert pack(bytes_tensor(elements)) == expected


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        (Datatype.BOOL, np.array([[True, False, True]])),
        (Datatype.INT32, np.array([[-1, 0, 2**31 - 1]], dtype=np.int32)),
        (Datatype.INT64, np.array([[-(2**63), 7, 2**63 - 1]], dtype=np.int64)),
        (Datatype.FP32, np.array([[0.1, -0.0, 1e-45]], dtype=np.float32)),
    ],
)
def test_numbers_survive_both_representations(
    datatype: Datatype, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    tensor = Tensor(name="x", datatype=datatype, values=values)
    raw = unpack(pack(tensor), datatype, values.shape, "x")
    typed = read_contents(write_contents(tensor), datatype, values.shape, "x")
    for read in (raw, typed):
        assert read.dtype == values.dtype
        assert read.tobytes() == values.tobytes()


def test_raw_numbers_are_little_endian() -> None:
    tensor = Tensor(name="x", datatype=Datatype.INT32, values=np.array([[258]]))
    assert pack(tensor) == b"\x02\x01\0\0"


def test_an_array_that_was_turned_is_packed_row_by_row() -> None:
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    tensor = Tensor(name="x", datatype=Datatype.FP32, values=turned)
    assert np.frombuffer(pack(tensor), "<f4").tolist() == [0, 3, 1, 4, 2, 5]
    assert list(write_contents(tensor).fp32_contents) == [0, 3, 1, 4, 2, 5]


def test_raw_numbers_must_fill_the_shape() -> None:
    with pytest.raises(InvalidInput, match=r"x: has 8 raw bytes; INT64 of shape \[2\]"):
        unpack(b"\0" * 8, Datatype.INT64, [2], "x")


def test_contents_must_fill_the_shape() -> None:
    contents = pb.InferTensorContents(int64_contents=[1, 2, 3])
    with pytest.raises(InvalidInput, match=r"x: has 3 values in int64_contents"):
        read_contents(contents, Datatype.INT64, [2], "x")


def test_contents_of_another_type_are_refused() -> None:
    contents = pb.InferTensorContents(int_contents=[1])
    with pytest.raises(InvalidInput, match="stand in int_contents; those of INT64 go"):
        read_contents(contents, Datatype.INT64, [1], "x")
