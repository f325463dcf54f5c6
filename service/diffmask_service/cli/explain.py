"""`diffmask explain`."""

import argparse
import asyncio
import functools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from diffmask_service.cli.explain_arguments import (
    NO_GATES,
    STDIN,
    TEXTS_PER_CALL,
    add_arguments,
    read_condition,
)
from diffmask_service.cli.output import make_console, say, say_aside, write_whole
from diffmask_service.client import Client
from diffmask_service.core.values import (
    ExplainOptions,
    GateKind,
    Granularity,
    ModelDescription,
    Reply,
    TextInput,
    Timings,
)
from diffmask_service.errors import InvalidInput
from diffmask_service.render import Report, TerminalView, render_json, render_page

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show the answers."""
    inputs = _read_inputs(arguments)
    options = ExplainOptions(
        gates=frozenset(map(GateKind, set(arguments.gates) - {NO_GATES})),
        states=arguments.states,
        granularity=Granularity.WORDS if arguments.words else Granularity.TOKENS,
        top_k=arguments.top_k,
        truncate=arguments.truncate,
        verify=arguments.verify or bool(arguments.verify_states),
        verify_states=arguments.verify_states,
        explain_when=read_condition(arguments),
    )
    timeout = arguments.timeout_seconds
    if arguments.bundle is None:
        model, reply = _ask(arguments.server, inputs, options, timeout)
    else:
        running = _run_here(arguments.bundle, inputs, options, timeout)
        model, reply = asyncio.run(running)
    report = Report(
        inputs=inputs,
        reply=reply,
        labels=model.labels,
        hard_mask_threshold=model.hard_mask_threshold,
    )
    if arguments.html is not None:
        write_whole(arguments.html, render_page(report))
        say_aside(f"wrote {arguments.html}")
    if arguments.json:
        say(render_json(report))
    else:
        make_console().print(TerminalView(report))
    return 0


def _read_inputs(arguments: argparse.Namespace) -> tuple[TextInput, ...]:
    if arguments.text != STDIN:
        return (TextInput(text=arguments.text, text_pair=arguments.pair),)
    if arguments.pair is not None:
        raise InvalidInput("--pair: goes with one text, not with standard input")
    texts = []
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"standard input, line {number}: is not UTF-8 at byte {error.start}"
            ) from error
        if text:
            texts.append(TextInput(text=text))
    if not texts:
        raise InvalidInput("standard input: holds no text; give one a line")
    return tuple(texts)


def _ask(
    server: str,
    inputs: Sequence[TextInput],
    options: ExplainOptions,
    timeout_seconds: float,
) -> tuple[ModelDescription, Reply]:
    with Client(server, timeout_seconds=timeout_seconds) as client:
        model = client.get_model()
        replies = [
            client.explain(
                batch,
                gates=options.gates,
                states=options.states,
                granularity=options.granularity,
                top_k=options.top_k,
                truncate=options.truncate,
                verify=options.verify,
                verify_states=options.verify_states,
                explain_when=options.explain_when,
            )
            for batch in _batches(inputs)
        ]
    return model, _join(replies)


async def _run_here(
    directory: Path,
    inputs: Sequence[TextInput],
    options: ExplainOptions,
    timeout_seconds: float,
) -> tuple[ModelDescription, Reply]:
    # Here and not above: asking a server needs no model runtime.
    from diffmask_service.app import open_engine  # noqa: PLC0415

    engine = open_engine(directory)
    try:
        replies = [
            await engine.explain(
                batch, options, deadline=time.monotonic() + timeout_seconds
            )
            for batch in _batches(inputs)
        ]
    finally:
        engine.close()
    return engine.description, _join(replies)


def _batches(inputs: Sequence[TextInput]) -> Iterator[Sequence[TextInput]]:
    for start in range(0, len(inputs), TEXTS_PER_CALL):
        yield inputs[start : start + TEXTS_PER_CALL]


def _join(replies: Sequence[Reply]) -> Reply:
    timings = (reply.timings for reply in replies)
    return replace(
        replies[0],
        explanations=tuple(item for reply in replies for item in reply.explanations),
        timings=functools.reduce(Timings.joined, timings),
    )
