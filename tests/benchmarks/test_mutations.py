"""Spoilt on purpose, and spoilt as meant."""

import random

import pytest
from google.protobuf.message import DecodeError

from benchmarks.fuzzing.mutations import (
    MUTATIONS,
    Mutation,
    change_wire_type,
    flip_bits,
    inflate_length,
    mutate_within,
    nest,
    read_fields,
    repeat_field,
    truncate,
    write_field,
    write_varint,
)
from diffmask_service.wire.pb import explain_pb2 as pb

MESSAGE = pb.ExplainRequest(
    model="tiny", inputs=[pb.TextInput(text="good"), pb.TextInput(text="bad")]
).SerializeToString()
CHANCES = [random.Random(seed) for seed in range(30)]


def parses(message: bytes) -> bool:
    try:
        pb.ExplainRequest.FromString(message)
    except DecodeError:
        return False
    return True


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_a_varint_is_what_protobuf_writes(value: int) -> None:
    # Field 2 of Field number 1 as uint32 would be cut; a length-delimited field is not.
    expected = pb.Gates(shape=[value % 2**32]).SerializeToString()
    payload = write_varint(value % 2**32)
    assert write_field(2, payload) == expected


def test_fields_are_found_where_they_lie() -> None:
    fields = read_fields(MESSAGE)
    assert [field.number for field in fields] == [1, 3, 3]
    assert fields[0].start == 0
    assert fields[-1].end == len(MESSAGE)
    assert MESSAGE[fields[0].body : fields[0].end] == b"tiny"


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutation_depends_on_chance_alone(mutation: Mutation) -> None:
    for message in (MESSAGE, b"", b"\xff"):
        first, second = (mutation(message, random.Random(5)) for _ in range(2))
        assert first == second


@pytest.mark.parametrize("mutation", set(MUTATIONS) - {truncate})
def test_a_mutation_changes_the_message(mutation: Mutation) -> None:
    assert any(mutation(MESSAGE, chance) != MESSAGE for chance in CHANCES)


def test_flips_leave_the_length() -> None:
    for chance in CHANCES:
        assert len(flip_bits(MESSAGE, chance)) == len(MESSAGE)


def test_a_truncated_message_is_a_proper_beginning() -> None:
    for chance in CHANCES:
        cut = truncate(MESSAGE, chance)
        assert MESSAGE.startswith(cut)
        assert len(cut) < len(MESSAGE)


def test_a_repeated_field_leaves_a_message() -> None:
    for chance in CHANCES:
        repeated = repeat_field(MESSAGE, chance)
        assert parses(repeated)
        assert len(read_fields(repeated)) > 3


def test_a_false_length_is_never_a_message() -> None:
    assert not any(parses(inflate_length(MESSAGE, chance)) for chance in CHANCES)


def test_a_false_wire_type_keeps_the_number() -> None:
    for chance in CHANCES:
        spoilt = change_wire_type(MESSAGE, chance)
        (place,) = (i for i, b in enumerate(spoilt) if b != MESSAGE[i])
        assert spoilt[place] >> 3 == MESSAGE[place] >> 3


def test_nesting_goes_deeper_than_parsers_do() -> None:
    assert not all(parses(nest(MESSAGE, chance)) for chance in CHANCES)


def test_a_spoilt_inside_keeps_the_lengths_around_it() -> None:
    for chance in CHANCES:
        spoilt = read_fields(mutate_within(MESSAGE, chance))
        assert [field.number for field in spoilt] == [1, 3, 3]
