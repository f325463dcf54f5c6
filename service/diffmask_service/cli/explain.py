"""`diffmask explain`."""

import argparse
import asyncio
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from diffmask_service.cli.connection import connect
from diffmask_service.cli.explain_arguments import (
    NO_GATES,
    TEXTS_PER_CALL,
    add_arguments,
    read_condition,
)
from diffmask_service.cli.inputs import read_inputs
from diffmask_service.cli.output import make_console, say, say_aside, write_whole
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
    _check_places(arguments)
    inputs = read_inputs(arguments)
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
    if arguments.bundle is None:
        model, reply = _ask(arguments, inputs, options)
    else:
        model, reply = asyncio.run(_run_here(arguments, inputs, options))
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


def _check_places(arguments: argparse.Namespace) -> None:
    if arguments.bundle is None and arguments.precision is not None:
        raise InvalidInput(
            "--precision: goes with --bundle; a server has chosen its own"
        )
    if arguments.bundle is not None and (arguments.model or arguments.version):
        raise InvalidInput(
            "--model, --version: choose among the models of a server; a bundle is one"
        )


def _ask(
    arguments: argparse.Namespace, inputs: Sequence[TextInput], options: ExplainOptions
) -> tuple[ModelDescription, Reply]:
    with connect(arguments, timeout_seconds=arguments.timeout_seconds) as client:
        model = client.get_model(arguments.model, arguments.version)
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
                model=arguments.model,
                # The one that was described, whatever is loaded meanwhile.
                version=model.identity.version,
                explain_when=options.explain_when,
            )
            for batch in _batches(inputs)
        ]
    return model, _join(replies)


async def _run_here(
    arguments: argparse.Namespace, inputs: Sequence[TextInput], options: ExplainOptions
) -> tuple[ModelDescription, Reply]:
    # Here and not above: asking a server needs no model runtime.
    from diffmask_service.app import open_engine  # noqa: PLC0415

    engine = open_engine(arguments.bundle, precision=arguments.precision)
    try:
        replies = [
            await engine.explain(
                batch,
                options,
                deadline=time.monotonic() + arguments.timeout_seconds,
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
