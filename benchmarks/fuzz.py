"""Hostile input against a server: messages, texts and raw HTTP/2.

Every call must end in a status that a caller's mistake may have, every connection must
be closed once the caller has said all; after each thousand a fixed text must get the
very same answer as before. INTERNAL, UNKNOWN, a crash, a hang or a traceback of ours in
the log fails the run, and the first offenders are printed in hexadecimal.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from benchmarks.fuzzing.canary import Canary
from benchmarks.fuzzing.frames import (
    FRAME_NAMES,
    Conversation,
    draw_conversation,
    frame_kinds,
)
from benchmarks.fuzzing.mutations import mutate
from benchmarks.fuzzing.offences import ENDINGS, STREAMS
from benchmarks.fuzzing.texts import draw_hostile_request
from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import Server, running
from benchmarks.traffic.targets import EXPLAIN
from diffmask_service.wire.pb import explain_pb2 as pb

# What a caller's mistake may end in, or plain good luck.
ALLOWED = frozenset(
    {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}
)
_FORBIDDEN_COUNTERS = (
    "grpc_server_handled_total:INTERNAL",
    "grpc_server_handled_total:UNKNOWN",
)
_OUR_CODE = "diffmask_service/"
_BETWEEN_CANARIES = 1000
_TIMEOUT_SECONDS = 60.0
_MOST_FAILURES = 10
_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method to attack.

    Attributes:
        path: Its full name.
        seeds: Requests that it takes, to be spoilt.
    """

    path: str
    seeds: Sequence[bytes]


METHODS = (
    Method(
        path=EXPLAIN.path,
        seeds=(
            EXPLAIN.write(["a funny movie"], "predict"),
            EXPLAIN.write(["good", "not bad , never dull"], "explain"),
            EXPLAIN.write(["a , b"] * 5, "verify"),
            pb.ExplainRequest(
                inputs=[pb.TextInput(text="good", text_pair="bad")],
                options=pb.ExplainOptions(
                    gates=[pb.GATE_KIND_INPUT],
                    states=["embeddings"],
                    granularity=pb.GRANULARITY_WORDS,
                    top_k=2,
                    verify=pb.VerifyOptions(states=["embeddings"]),
                ),
            ).SerializeToString(),
        ),
    ),
    Method(
        path="/diffmask.v1.Explainer/GetModel",
        seeds=(pb.GetModelRequest(model="a", version="1").SerializeToString(),),
    ),
    Method(
        path="/diffmask.v1.Explainer/ListModels",
        seeds=(pb.ListModelsRequest().SerializeToString(),),
    ),
    Method(
        path="/grpc.health.v1.Health/Check",
        seeds=(health_pb2.HealthCheckRequest(service="readiness").SerializeToString(),),
    ),
)


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
        messages = islice(_draw_calls(methods, chance), num_messages)
        while batch := list(islice(messages, _BETWEEN_CANARIES)):
            waiting = iter(batch)
            await asyncio.gather(
                *(_call_all(channel, waiting, fuzzed) for _ in range(callers))
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


def _draw_calls(
    methods: Sequence[Method], chance: random.Random
) -> Iterator[tuple[str, bytes]]:
    while True:
        if chance.random() < 0.25:
            yield EXPLAIN.path, draw_hostile_request(chance)
            continue
        method = chance.choice(methods)
        message = chance.choice(method.seeds)
        for _ in range(chance.choice((1, 1, 2, 3))):
            message = mutate(message, chance)
        yield method.path, message


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
    channel: grpc.aio.Channel, calls: Iterator[tuple[str, bytes]], fuzzed: Fuzzed
) -> None:
    for path, message in calls:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            path
        )
        status = "OK"
        try:
            await method(message, timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            status = error.code().name
        fuzzed.statuses[status] += 1
        if status not in ALLOWED:
            fuzzed.fail(f"{path} ended in {status}", message)


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
