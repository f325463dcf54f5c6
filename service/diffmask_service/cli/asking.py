"""Texts asked about, at a server or of a bundle in this process."""

import argparse
import asyncio
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from diffmask_service.cli.connection import connect
from diffmask_service.cli.explain_arguments import TEXTS_PER_CALL
from diffmask_service.core.values import (
    ExplainOptions,
    ModelDescription,
    Reply,
    TextInput,
    Timings,
)
from diffmask_service.render import Report


def ask(
    arguments: argparse.Namespace,
    inputs: tuple[TextInput, ...],
    options: ExplainOptions,
    *,
    precision: str | None,
) -> Report:
    """Return what the bundle or the server that was named says of texts.

    Args:
        arguments: What was parsed; names the place and the time for an answer.
        inputs: The texts.
        options: What the answer should hold.
        precision: Which graph of a bundle to run; None for its choice.

    Raises:
        DiffMaskError: The texts, the options or the place are at fault.
    """
    if arguments.bundle is None:
        model, reply = _ask_server(arguments, inputs, options)
    else:
        running = _run_here(arguments, inputs, options, precision=precision)
        model, reply = asyncio.run(running)
    return Report(
        inputs=inputs,
        reply=reply,
        labels=model.labels,
        hard_mask_threshold=model.hard_mask_threshold,
        options=options,
    )


def _ask_server(
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
    arguments: argparse.Namespace,
    inputs: Sequence[TextInput],
    options: ExplainOptions,
    *,
    precision: str | None,
) -> tuple[ModelDescription, Reply]:
    # Here and not above: asking a server needs no model runtime.
    from diffmask_service.app import open_engine  # noqa: PLC0415

    engine = open_engine(arguments.bundle, precision=precision)
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
