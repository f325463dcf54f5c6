"""Hostile input against a server: messages, texts and raw HTTP/2.

Every call, and every request of a stream, must end in a status that a caller's mistake
may have, every connection must be closed once the caller has said all; after each
thousand a fixed text must get the very same answer as before. INTERNAL, UNKNOWN, a
crash, a hang or a traceback of ours in the log fails the run, and the first offenders
are printed in hexadecimal.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks.fuzzing.attacks import Attack, draw_attacks
from benchmarks.fuzzing.canary import Canary
from benchmarks.fuzzing.frames import (
    FRAME_NAMES,
    Conversation,
    draw_conversation,
    frame_kinds,
)
from benchmarks.fuzzing.methods import METHODS, Method
from benchmarks.fuzzing.offences import ENDINGS, STREAMS
from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import Server, running

# What a caller's mistake may end in, or plain good luck.
ALLOWED = frozenset(
    {
        "OK",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "UNIMPLEMENTED",
    }
)
# A request of a stream names its own time, and a spoilt one may name a short one. That
# the server hangs would show in the status of the stream.
ALLOWED_IN_STREAM = ALLOWED | {"DEADLINE_EXCEEDED"}
# What the caller's library says by itself when a stream is refused, as for a message
# that is too large, while it still sends; the server's counters tell how that ended.
_CUT_OFF = "Internal error from Core"
_FORBIDDEN_COUNTERS = (
    "grpc_server_handled_total:INTERNAL",
    "grpc_server_handled_total:UNKNOWN",
)
_OUR_CODE = "diffmask_service/"
_BETWEEN_CANARIES = 1000
_TIMEOUT_SECONDS = 60.0
_MOST_FAILURES = 10
_SHOWN_BYTES = 200


@dataclass(slots=True, kw_only=True)
class Fuzzed:
    """What came of it so far.

    Attributes:
        statuses: Calls by status.
        frames: Frames that raw connections got back, by name.
        num_streams: Streams that raw connections opened.
        num_canaries: Exact answers in between.
        failures: What must not happen and did.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)
    num_streams: int = 0
    num_canaries: int = 0
    failures: list[str] = field(default_factory=list)

    def count(
        self, attack: Attack, place: int, status: str, *, allowed: frozenset[str]
    ) -> None:
        """Count how one message of a call ended, and note if it must not."""
        self.statuses[status] += 1
        if status not in allowed:
            self.fail(f"{attack.method.path} ended in {status}", attack.messages[place])

    def fail(self, what: str, sent: bytes = b"") -> None:
        """Note what must not happen."""
        if len(self.failures) < _MOST_FAILURES:
            shown = sent[:_SHOWN_BYTES].hex()
            self.failures.append(f"{what}: {shown}" if sent else what)


def main() -> None:
    """Attack a server, print what came of it, and fail if it must not."""
    arguments = _parse()
    with running(arguments.bundle, log_level="WARNING") as server:
        fuzzed = asyncio.run(
            fuzz(
                server,
                num_messages=arguments.messages,
                num_streams=arguments.streams,
                callers=arguments.callers,
                seed=arguments.seed,
                progress=lambda line: print(line, file=sys.stderr),
            )
        )
    figures = {
        "statuses": dict(fuzzed.statuses.most_common()),
        "frames": dict(fuzzed.frames.most_common()),
        "streams": fuzzed.num_streams,
        "canaries": fuzzed.num_canaries,
        "failures": fuzzed.failures,
    }
    print("\n".join(describe(figures)))
    store("fuzz", figures, arguments=arguments)
    sys.exit(1 if fuzzed.failures else 0)


async def fuzz(
    server: Server,
    *,
    num_messages: int,
    num_streams: int,
    callers: int = 16,
    seed: int = 0,
    methods: Sequence[Method] = METHODS,
    progress: Callable[[str], None] = lambda _: None,
) -> Fuzzed:
    """Attack a running server.

    Args:
        server: Which.
        num_messages: Calls with spoilt messages and hostile texts.
        num_streams: Streams on raw connections, at least.
        callers: How many attack at a time.
        seed: Of all chance.
        methods: What is called.
        progress: Told a line after each thousand.
    """
    chance = random.Random(seed)
    fuzzed = Fuzzed()
    async with grpc.aio.insecure_channel(server.target) as channel:
        canary = Canary(channel, timeout_seconds=_TIMEOUT_SECONDS)
        await _check(server, canary, fuzzed)
        while fuzzed.statuses.total() < num_messages:
            most = min(_BETWEEN_CANARIES, num_messages - fuzzed.statuses.total())
            attacks = draw_attacks(methods, chance, num_messages=most)
            await asyncio.gather(
                *(_call_all(channel, attacks, fuzzed) for _ in range(callers))
            )
            await _check(server, canary, fuzzed)
            progress(f"{fuzzed.statuses.total()} messages: {dict(fuzzed.statuses)}")
        while fuzzed.num_streams < num_streams:
            most = min(_BETWEEN_CANARIES, num_streams - fuzzed.num_streams)
            talks = _draw_conversations(methods, chance, num_streams=most)
            await asyncio.gather(
                *(_talk_all(server.target, talks, fuzzed) for _ in range(callers))
            )
            await _check(server, canary, fuzzed)
            progress(f"{fuzzed.num_streams} streams: {dict(fuzzed.frames)}")
    counters = await server.counters()
    for name in _FORBIDDEN_COUNTERS:
        if counters[name]:
            fuzzed.fail(f"the server counted {counters[name]} in {name}")
    log = server.log.read_text(errors="replace")
    # gRPC writes tracebacks of its own, about headers that it cannot decode and calls
    # whose connection is gone.
    if _OUR_CODE in log:
        place = log.index(_OUR_CODE)
        fuzzed.fail("the log holds a traceback: " + log[place : place + 800])
    fuzzed.num_canaries = canary.num_checks
    return fuzzed


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    statuses, frames = figures["statuses"], figures["frames"]
    ends = [[name, count] for name, count in statuses.items()]
    answers = [[name, count] for name, count in frames.items()]
    return [
        f"{sum(statuses.values()):,} messages, {figures['streams']:,} raw streams,"
        f" {figures['canaries']:,} exact canaries in between,"
        f" {len(figures['failures'])} failures.",
        "",
        *table(["messages ended in", "number"], ends),
        "",
        *table(["raw streams were answered with", "frames"], answers),
        "",
        *(f"- {failure}" for failure in figures["failures"]),
    ]


def _draw_conversations(
    methods: Sequence[Method], chance: random.Random, *, num_streams: int
) -> Iterator[Conversation]:
    drawn = 0
    while drawn < num_streams:
        method = chance.choice(methods)
        talk = draw_conversation(
            method.path,
            chance.choice(method.seeds),
            chance,
            streams=STREAMS,
            endings=ENDINGS,
        )
        drawn += talk.num_streams
        yield talk


async def _call_all(
    channel: grpc.aio.Channel, attacks: Iterator[Attack], fuzzed: Fuzzed
) -> None:
    for attack in attacks:
        if attack.method.read_status is None:
            await _call(channel, attack, fuzzed)
        else:
            await call_stream(channel, attack, attack.method.read_status, fuzzed)


async def _call(channel: grpc.aio.Channel, attack: Attack, fuzzed: Fuzzed) -> None:
    (message,) = attack.messages
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        attack.method.path
    )
    status = "OK"
    try:
        await method(message, timeout=_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        status = error.code().name
    fuzzed.count(attack, 0, status, allowed=ALLOWED)


async def call_stream(
    channel: grpc.aio.Channel,
    attack: Attack,
    read_status: Callable[[bytes], str],
    fuzzed: Fuzzed,
) -> None:
    """Send all messages of a call at once, and count how each ended.

    Args:
        channel: Where the server is.
        attack: Of a method that takes a stream.
        read_status: From an answer to its status.
        fuzzed: Where it is counted.
    """
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        attack.method.path
    )
    answered = 0
    status = "no answer"
    try:
        async for answer in method(iter(attack.messages), timeout=_TIMEOUT_SECONDS):
            fuzzed.count(
                attack, answered, read_status(answer), allowed=ALLOWED_IN_STREAM
            )
            answered += 1
    except grpc.aio.AioRpcError as error:
        is_cut_off = error.details() == _CUT_OFF
        status = "CANCELLED" if is_cut_off else error.code().name
    # What a stream that ended early leaves open, ended as the stream did.
    for place in range(answered, len(attack.messages)):
        fuzzed.count(attack, place, status, allowed=ALLOWED | {"CANCELLED"})


async def _talk_all(target: str, talks: Iterator[Conversation], fuzzed: Fuzzed) -> None:
    for talk in talks:
        fuzzed.num_streams += talk.num_streams
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                received = await converse(target, talk.sent)
        except TimeoutError:
            fuzzed.fail("a connection was never closed", talk.sent)
            continue
        except ConnectionRefusedError:
            # The check that follows tells why.
            return
        for kind in frame_kinds(received):
            known = kind < len(FRAME_NAMES)
            fuzzed.frames[FRAME_NAMES[kind] if known else "unknown"] += 1


async def converse(target: str, sent: bytes) -> bytes:
    """Send everything on a connection of its own; return all that comes back.

    Args:
        target: Host and port.
        sent: The bytes.
    """
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = bytearray()
    try:
        writer.write(sent)
        # The server may well close before it has read everything.
        await writer.drain()
        writer.write_eof()
        while chunk := await reader.read(2**16):
            received += chunk
    except OSError:
        # Broken off by the server, as it may.
        pass
    finally:
        writer.close()
    return bytes(received)


async def _check(server: Server, canary: Canary, fuzzed: Fuzzed) -> None:
    if not server.is_running():
        log = server.log.read_text(errors="replace")
        raise RuntimeError(f"the server has crashed; its log ends:\n{log[-2000:]}")
    wrong = await canary.check()
    if wrong:
        fuzzed.fail(wrong)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=10_000, help="[%(default)s]")
    parser.add_argument("--streams", type=int, default=1_000, help="[%(default)s]")
    parser.add_argument(
        "--callers", type=int, default=16, help="at a time [%(default)s]"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
