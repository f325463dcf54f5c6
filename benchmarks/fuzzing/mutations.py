"""Spoil the bytes of a protobuf message, knowing how such bytes are built."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LENGTH_DELIMITED = 2
_START_GROUP = 3
_HUGE_LENGTHS = (2**28, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_DEPTHS = (10, 99, 101, 1000)
_MOST_FLIPS = 8
# The last are more texts than a server takes, unless told otherwise.
_COPIES = (1, 1, 2, 3, 40)

Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where one field of a message lies.

    Attributes:
        start: First byte of its tag.
        body: First byte after tag and length.
        end: First byte after it.
        number: Its number.
        wire_type: How its value is written.
    """

    start: int
    body: int
    end: int
    number: int
    wire_type: int


def write_varint(value: int) -> bytes:
    """Return a number as protobuf writes it, 0 <= value < 2**64."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def write_field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited field: a string, bytes or a message."""
    tag = write_varint(number << 3 | LENGTH_DELIMITED)
    return tag + write_varint(len(payload)) + payload


def read_fields(message: bytes) -> list[Field]:
    """Return the fields of a message up to the first that cannot be read."""
    fields: list[Field] = []
    position = 0
    while position < len(message):
        tag, body = _read_varint(message, position)
        end = _end_of_value(message, tag & 7, body)
        if tag & 7 == LENGTH_DELIMITED:
            _, body = _read_varint(message, body)
        if not position < end <= len(message):
            break
        fields.append(
            Field(
                start=position, body=body, end=end, number=tag >> 3, wire_type=tag & 7
            )
        )
        position = end
    return fields


def flip_bits(message: bytes, chance: random.Random) -> bytes:
    """Turn over a few bits."""
    spoilt = bytearray(message)
    for _ in range(chance.randint(1, _MOST_FLIPS) if message else 0):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def truncate(message: bytes, chance: random.Random) -> bytes:
    """Cut off the end."""
    return message[: chance.randrange(len(message))] if message else message


def repeat_field(message: bytes, chance: random.Random) -> bytes:
    """Send one field several times, where it may be singular."""
    fields = read_fields(message)
    if not fields:
        return message
    field = chance.choice(fields)
    copies = message[field.start : field.end] * chance.choice(_COPIES)
    place = chance.choice(fields).start
    return message[:place] + copies + message[place:]


def inflate_length(message: bytes, chance: random.Random) -> bytes:
    """Promise far more bytes than follow."""
    fields = [f for f in read_fields(message) if f.wire_type == LENGTH_DELIMITED]
    if not fields:
        return write_varint(1 << 3 | LENGTH_DELIMITED) + write_varint(2**31)
    field = chance.choice(fields)
    tag = write_varint(field.number << 3 | LENGTH_DELIMITED)
    length = write_varint(chance.choice(_HUGE_LENGTHS))
    return message[: field.start] + tag + length + message[field.body :]


def change_wire_type(message: bytes, chance: random.Random) -> bytes:
    """Claim that a value is written in another way than it is."""
    fields = read_fields(message)
    if not fields:
        return bytes([1 << 3 | chance.randrange(8)])
    field = chance.choice(fields)
    others = [wire_type for wire_type in range(8) if wire_type != field.wire_type]
    tag = write_varint(field.number << 3 | chance.choice(others))
    return message[: field.start] + tag + message[field.start + len(tag) :]


def nest(message: bytes, chance: random.Random) -> bytes:
    """Wrap the message deeper than any message of the protocol goes."""
    depth, number = chance.choice(_DEPTHS), chance.randint(1, 9)
    if chance.random() < 0.5:
        return write_varint(number << 3 | _START_GROUP) * depth + message
    for _ in range(depth):
        message = write_field(number, message)
    return message


def overwrite(message: bytes, chance: random.Random) -> bytes:
    """Put noise in the place of a stretch."""
    start = chance.randrange(len(message) + 1)
    noise = chance.randbytes(chance.randint(1, 32))
    return message[:start] + noise + message[start + len(noise) :]


def mutate_within(message: bytes, chance: random.Random) -> bytes:
    """Spoil the inside of one field and keep the lengths around it right."""
    fields = [f for f in read_fields(message) if f.wire_type == LENGTH_DELIMITED]
    if not fields:
        return flip_bits(message, chance)
    field = chance.choice(fields)
    inside = mutate(message[field.body : field.end], chance)
    whole = write_field(field.number, inside)
    return message[: field.start] + whole + message[field.end :]


MUTATIONS: Sequence[Mutation] = (
    flip_bits,
    truncate,
    repeat_field,
    inflate_length,
    change_wire_type,
    nest,
    overwrite,
    mutate_within,
    mutate_within,
)


def mutate(message: bytes, chance: random.Random) -> bytes:
    """Spoil a message in one way."""
    return chance.choice(MUTATIONS)(message, chance)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 64:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            break
    return value, position


def _end_of_value(message: bytes, wire_type: int, body: int) -> int:
    match wire_type:
        case 0:
            return _read_varint(message, body)[1]
        case 1:
            return body + 8
        case 2:
            length, start = _read_varint(message, body)
            return start + length
        case 5:
            return body + 4
        case _:
            return -1
