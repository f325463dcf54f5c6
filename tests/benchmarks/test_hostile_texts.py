"""Texts that no library would write."""

import random

import pytest
from google.protobuf.message import DecodeError

from benchmarks.fuzzing.texts import (
    NOT_TEXT,
    STRANGE,
    draw_hostile_texts,
    write_request,
)
from diffmask_service.wire.pb import explain_pb2 as pb


@pytest.mark.parametrize("raw", NOT_TEXT)
def test_what_is_no_text_does_not_decode(raw: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        raw.decode()
    with pytest.raises(DecodeError):
        pb.ExplainRequest.FromString(write_request([raw]))


def test_strange_texts_are_texts_all_the_same() -> None:
    message = write_request([text.encode() for text in STRANGE])
    request = pb.ExplainRequest.FromString(message)
    assert [item.text for item in request.inputs] == list(STRANGE)
    assert list(request.options.gates) == [pb.GATE_KIND_INPUT, pb.GATE_KIND_HIDDEN]


def test_drawn_requests_hold_both_kinds() -> None:
    chance = random.Random(0)
    outcomes = set()
    for _ in range(300):
        try:
            pb.ExplainRequest.FromString(write_request(draw_hostile_texts(chance)))
        except DecodeError:
            outcomes.add("no text")
        else:
            outcomes.add("text")
    assert outcomes == {"no text", "text"}
