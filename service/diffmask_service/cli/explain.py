"""`diffmask explain`."""

import argparse

from diffmask_service.cli.asking import ask
from diffmask_service.cli.explain_arguments import (
    NO_GATES,
    add_arguments,
    read_condition,
)
from diffmask_service.cli.inputs import read_inputs
from diffmask_service.cli.output import make_console, say, say_aside, write_whole
from diffmask_service.cli.places import check_places
from diffmask_service.core.values import ExplainOptions, GateKind, Granularity
from diffmask_service.render import TerminalView, render_json, render_page

__all__ = ["add_arguments", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show the answers."""
    check_places(arguments, precision=arguments.precision)
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
    report = ask(arguments, inputs, options, precision=arguments.precision)
    if arguments.html is not None:
        write_whole(arguments.html, render_page(report))
        say_aside(f"wrote {arguments.html}")
    if arguments.json:
        say(render_json(report))
    else:
        make_console().print(TerminalView(report))
    return 0
