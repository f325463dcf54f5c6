"""`diffmask healthcheck`."""

import argparse

from diffmask_service.cli.arguments import seconds
from diffmask_service.cli.connection import add_security, add_server, connect
from diffmask_service.cli.output import say, say_aside
from diffmask_service.errors import DiffMaskError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Ask a server whether it takes requests, by the standard gRPC health protocol."
        " Exit status 0 if it does and 1 if not, as container probes expect."
    )
    add_server(parser)
    add_security(parser)
    parser.add_argument(
        "--service",
        metavar="NAME",
        default="",
        help="Ask about one service, such as a model or `liveness`; empty for the whole"
        " server. [empty]",
    )
    parser.add_argument(
        "--timeout-seconds",
        metavar="SECONDS",
        type=seconds,
        default=3.0,
        help="Longest wait for the answer, seconds. [%(default)s]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Ask, and return 0 for a server that takes requests."""
    try:
        with connect(
            arguments, timeout_seconds=arguments.timeout_seconds, retries=False
        ) as client:
            is_serving = client.check_health(arguments.service)
    except DiffMaskError as error:
        say_aside(str(error))
        return 1
    say("serving" if is_serving else "not serving")
    return 0 if is_serving else 1
