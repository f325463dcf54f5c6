"""HTTP/2 written by hand."""

import random

import pytest

from benchmarks.fuzzing.frames import (
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    SETTINGS,
    draw_conversation,
    frame,
    frame_kinds,
    header_block,
    whole_call,
)
from benchmarks.fuzzing.offences import ENDINGS, STREAMS


def test_a_frame_is_laid_out_as_the_standard_says() -> None:
    # RFC 9113, section 4.1: length 24 bits, type 8, flags 8, stream 32, payload.
    written = frame(DATA, b"abc", flags=END_STREAM, stream=5)
    assert written == b"\x00\x00\x03\x00\x01\x00\x00\x00\x05abc"


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (1, b"\x01"),
        (126, b"\x7e"),
        # RFC 7541, section 5.1, with seven bits at first: 127, then the rest.
        (127, b"\x7f\x00"),
        (128, b"\x7f\x01"),
        (1337, b"\x7f\xba\x09"),
    ],
)
def test_a_header_is_a_literal_of_any_length(size: int, length: bytes) -> None:
    block = header_block([("a", "v" * size)])
    assert block == b"\x00\x01a" + length + b"v" * size


def test_frames_that_came_back_are_told_apart() -> None:
    received = frame(SETTINGS) + frame(HEADERS, b"1234", stream=1) + frame(GOAWAY, b"5")
    assert frame_kinds(received) == [SETTINGS, HEADERS, GOAWAY]
    assert frame_kinds(b"") == []
    assert frame_kinds(b"HTTP/1.1") == []


def test_a_call_is_headers_and_one_message() -> None:
    written = whole_call(1, "/a/b", b"xyz")
    assert frame_kinds(written) == [HEADERS, DATA]
    assert written.endswith(b"\x00\x00\x00\x00\x03xyz")


def test_the_same_seed_gives_the_same_conversation() -> None:
    talks = [
        draw_conversation(
            "/a/b", b"xyz", random.Random(seed), streams=STREAMS, endings=ENDINGS
        )
        for seed in (1, 1, 2)
    ]
    assert talks[0] == talks[1] != talks[2]
    assert 1 <= talks[0].num_streams <= 10
    assert PREFACE in talks[0].sent
