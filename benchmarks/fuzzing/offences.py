"""What a peer may do wrong in HTTP/2 and in gRPC above it, one offence at a time."""

import random
from collections.abc import Sequence

from benchmarks.fuzzing.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Header,
    Stream,
    call_headers,
    frame,
    header_block,
    message_prefix,
    open_stream,
    whole_call,
)
from benchmarks.fuzzing.mutations import mutate

_PATHS = (
    "",
    "/",
    "//",
    "*",
    "/one",
    "no slash at all",
    "/diffmask.v1.Explainer",
    "/diffmask.v1.Explainer/",
    "/diffmask.v1.Explainer/Nothing",
    "/diffmask.v1.Explainer/Explain/more",
    "/a/b/c/d",
    "/" + "x" * 4000,
    "/nul/\x00",
    "/not UTF-8/\xff",
)
_EXTRA: Sequence[Header] = (
    ("grpc-timeout", "99999999999H"),
    ("grpc-timeout", "-1S"),
    ("grpc-timeout", "0n"),
    ("grpc-timeout", "soon"),
    ("grpc-encoding", "gzip"),
    ("grpc-encoding", "nonsense"),
    ("grpc-accept-encoding", "\xff,,,"),
    ("x-request-id", "a\r\nb"),
    ("x-request-id", "\xff" * 100),
    ("x-bin", "!!! no base64 !!!"),
    ("grpc-previous-rpc-attempts", "many"),
    ("UPPER", "case"),
    ("", "no name"),
    (":path", "/twice/over"),
    ("content-length", "7"),
    ("connection", "keep-alive"),
    ("big", "x" * 20_000),
    ("grpc-status", "0"),
    ("te", "nothing"),
    ("content-type", "text/html"),
)


def _spoilt_message(
    stream: int, path: str, message: bytes, chance: random.Random
) -> bytes:
    return whole_call(stream, path, mutate(message, chance))


def _false_prefix(
    stream: int, path: str, message: bytes, chance: random.Random
) -> bytes:
    size = chance.choice((0, 1, len(message) + 1, 2**24, 2**31, 2**32 - 1))
    prefix = message_prefix(size, is_compressed=chance.choice((0, 1, 2, 255)))
    body = frame(DATA, prefix + message, flags=END_STREAM, stream=stream)
    return open_stream(stream, call_headers(path)) + body


def _odd_header(stream: int, path: str, message: bytes, chance: random.Random) -> bytes:
    return whole_call(stream, path, message, chance.choice(_EXTRA))


def _odd_path(stream: int, path: str, message: bytes, chance: random.Random) -> bytes:
    del path
    return whole_call(stream, chance.choice(_PATHS), message)


def _missing_header(
    stream: int, path: str, message: bytes, chance: random.Random
) -> bytes:
    headers = call_headers(path)
    del headers[chance.randrange(len(headers))]
    body = message_prefix(len(message)) + message
    return open_stream(stream, headers) + frame(
        DATA, body, flags=END_STREAM, stream=stream
    )


def _reset(stream: int, path: str, message: bytes, chance: random.Random) -> bytes:
    code = chance.choice((0, 1, 8, 2**32 - 1)).to_bytes(4, "big")
    begun = whole_call(stream, path, message)
    if chance.random() < 0.5:
        begun = open_stream(stream, call_headers(path))
    return begun + frame(RST_STREAM, code, stream=stream)


def _in_pieces(stream: int, path: str, message: bytes, chance: random.Random) -> bytes:
    body = message_prefix(len(message)) + message
    cut = chance.randrange(len(body))
    parts = [frame(DATA, bytes([byte]), stream=stream) for byte in body[:cut]]
    last = frame(DATA, body[cut:], flags=END_STREAM, stream=stream)
    return open_stream(stream, call_headers(path)) + b"".join(parts) + last


def _no_end(stream: int, path: str, message: bytes, chance: random.Random) -> bytes:
    begun = open_stream(stream, call_headers(path))
    return begun + frame(DATA, message[: chance.randint(0, 8)], stream=stream)


def _several_messages(
    stream: int, path: str, message: bytes, chance: random.Random
) -> bytes:
    body = (message_prefix(len(message)) + message) * chance.choice((0, 2, 5))
    return open_stream(stream, call_headers(path)) + frame(
        DATA, body, flags=END_STREAM, stream=stream
    )


def _after_its_end(
    stream: int, path: str, message: bytes, chance: random.Random
) -> bytes:
    late = chance.choice(
        (
            frame(DATA, b"late", stream=stream),
            frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff", stream=stream),
            frame(PRIORITY, stream.to_bytes(4, "big") + b"\x10", stream=stream),
        )
    )
    return whole_call(stream, path, message) + late


STREAMS: Sequence[Stream] = (
    _spoilt_message,
    _false_prefix,
    _odd_header,
    _odd_path,
    _missing_header,
    _reset,
    _in_pieces,
    _no_end,
    _several_messages,
    _after_its_end,
)
ENDINGS = (
    frame(DATA, b"on no stream"),
    frame(DATA, b"on an idle stream", stream=999),
    frame(HEADERS, b"\xff\xff\xff\xff\xff\xff", flags=END_HEADERS, stream=101),
    frame(HEADERS, b"\x80", flags=END_HEADERS, stream=101),
    frame(HEADERS, header_block(call_headers("/a/b")), stream=101) + frame(PING),
    frame(HEADERS, b"", flags=END_HEADERS, stream=2),
    frame(CONTINUATION, b"of nothing", stream=101),
    frame(HEADERS, b"", stream=101) + frame(CONTINUATION, b"", stream=101) * 200,
    frame(SETTINGS, b"\x00\x04\xff\xff\xff\xff"),
    frame(SETTINGS, b"\x00\x05\x00\x00\x00\x00"),
    frame(SETTINGS, b"five!"),
    frame(SETTINGS, b"\x00" * 6, flags=ACK),
    frame(SETTINGS) * 500,
    frame(PING, b"short"),
    frame(PING, b"12345678") * 200,
    frame(PUSH_PROMISE, b"\x00\x00\x00\x02", flags=END_HEADERS, stream=1),
    frame(RST_STREAM, b"\x00\x00\x00\x08", stream=777),
    frame(WINDOW_UPDATE, b"\x00\x00\x00\x00"),
    frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff") * 2,
    frame(GOAWAY, b"\x00" * 8 + b"bye"),
    frame(GOAWAY, b"short"),
    frame(DATA, b"a lie", stream=1, length=2**24 - 1),
    frame(77, b"unknown"),
    frame(77, b"unknown", stream=2**31 - 1) * 100,
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # how TLS begins
    b"\x00" * 100,
)
