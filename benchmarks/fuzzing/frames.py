"""HTTP/2 as no library would write it: frames and whole connections.

Source:
    RFC 9113 (frames, stream states), RFC 7541 section 6.2.2 (literal header fields),
    gRPC over HTTP/2 (the five bytes before a message).
"""

import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING = range(7)
GOAWAY, WINDOW_UPDATE, CONTINUATION = range(7, 10)
FRAME_NAMES = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)
END_STREAM, END_HEADERS = 0x1, 0x4
ACK = 0x1
_HEAD_BYTES = 9

Header = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Everything that one connection sends.

    Attributes:
        sent: Its bytes.
        num_streams: Streams that it opens, or tries to.
    """

    sent: bytes
    num_streams: int


def frame(
    kind: int,
    payload: bytes = b"",
    *,
    flags: int = 0,
    stream: int = 0,
    length: int | None = None,
) -> bytes:
    """Return one frame; its length may be a lie."""
    size = len(payload) if length is None else length
    head = struct.pack(">I", size)[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def frame_kinds(received: bytes) -> list[int]:
    """Return the kinds of the frames in what a server sent, whole frames only."""
    kinds = []
    position = 0
    while position + _HEAD_BYTES <= len(received):
        size = int.from_bytes(received[position : position + 3], "big")
        kinds.append(received[position + 3])
        position += _HEAD_BYTES + size
    return kinds


def header_block(headers: Sequence[Header]) -> bytes:
    """Return headers as literals, neither indexed nor compressed."""
    return b"".join(
        b"\x00" + _literal(name.encode()) + _literal(value.encode("latin-1"))
        for name, value in headers
    )


def call_headers(path: str, *extra: Header) -> list[Header]:
    """Return the headers of a gRPC call."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        *extra,
    ]


def open_stream(stream: int, headers: Sequence[Header], *, flags: int = 0) -> bytes:
    """Return the frame that begins a call."""
    flags |= END_HEADERS
    return frame(HEADERS, header_block(headers), flags=flags, stream=stream)


def message_prefix(size: int, *, is_compressed: int = 0) -> bytes:
    """Return the five bytes before a gRPC message of a size, true or not."""
    return struct.pack(">BI", is_compressed, size)


def whole_call(stream: int, path: str, message: bytes, *extra: Header) -> bytes:
    """Return a well-formed unary call."""
    body = message_prefix(len(message)) + message
    headers = open_stream(stream, call_headers(path, *extra))
    return headers + frame(DATA, body, flags=END_STREAM, stream=stream)


Stream = Callable[[int, str, bytes, random.Random], bytes]


def draw_conversation(
    path: str,
    message: bytes,
    chance: random.Random,
    *,
    streams: Sequence[Stream],
    endings: Sequence[bytes],
) -> Conversation:
    """Return a connection with a few odd streams, often broken off by an offence.

    Args:
        path: A method.
        message: A request that it takes.
        chance: Source of chance.
        streams: Ways to spoil one stream.
        endings: Bytes that no connection should hold.
    """
    num_streams = chance.randint(1, 10)
    parts = [PREFACE, frame(SETTINGS)]
    parts += [
        chance.choice(streams)(1 + 2 * number, path, message, chance)
        for number in range(num_streams)
    ]
    if chance.random() < 0.7:
        parts.append(chance.choice(endings))
    if chance.random() < 0.1:
        parts.insert(chance.randrange(len(parts)), chance.randbytes(40))
    return Conversation(sent=b"".join(parts), num_streams=num_streams)


def _literal(value: bytes) -> bytes:
    # A length of seven bits, continued where that is too small.
    size = len(value)
    if size < 0x7F:
        return bytes([size]) + value
    written = bytearray([0x7F])
    size -= 0x7F
    while size > 0x7F:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(written) + bytes([size]) + value
