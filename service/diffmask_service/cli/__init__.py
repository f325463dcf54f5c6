"""The command `diffmask`: parsing and printing, and nothing else.

Exit status: 0 for success, 1 when a check found something wrong, 2 for a wrong command
line or an error, which is one message on standard error and never a traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from diffmask_service import __version__
from diffmask_service.cli.output import discard_output, prepare_output, say_aside
from diffmask_service.errors import DiffMaskError

_SUMMARY_BY_COMMAND = {
    "serve": "Serve bundles over gRPC.",
    "explain": "Predict a text and explain the prediction.",
    "audit": "Explain a data set and check every explanation.",
    "report": "Draw the report of an audit, or of two side by side.",
    "replay": "Explain again, and compare with what was said before.",
    "inspect": "Show a bundle's card and check the bundle.",
    "healthcheck": "Ask a server whether it takes requests.",
}
_EXIT_ERROR = 2
# As a shell reports a process that SIGINT or SIGPIPE ended.
_EXIT_INTERRUPTED = 130
_EXIT_BROKEN_PIPE = 141


class _Command(Protocol):
    """What the module of a command offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Describe the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Command line without the program's name; None for that of the process.

    Returns:
        The exit status.
    """
    prepare_output()
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if word in _SUMMARY_BY_COMMAND), None)
    command = None if chosen is None else _load(chosen)
    arguments = _parser(chosen, command).parse_args(words)
    if command is None:
        raise AssertionError("the parser lets no command line without a command pass")
    try:
        status = command.run(arguments)
        sys.stdout.flush()
    except DiffMaskError as error:
        say_aside(str(error))
        return _EXIT_ERROR
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return _EXIT_BROKEN_PIPE
    return status


def _load(name: str) -> _Command:
    # By name, so that each command pays for its own imports alone: a health check that
    # runs every few seconds should not load a model runtime.
    return cast("_Command", import_module(f"{__name__}.{name}"))


def _parser(chosen: str | None, command: _Command | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="diffmask",
        description="Prediction and explanation of a model from one forward pass.",
    )
    parser.add_argument(
        "--version", action="version", version=f"diffmask-service {__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, summary in _SUMMARY_BY_COMMAND.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        if name == chosen and command is not None:
            command.add_arguments(subparser)
    return parser
