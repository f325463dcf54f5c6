"""`diffmask serve`."""

import argparse
import asyncio
import os
from collections.abc import Mapping

from diffmask_service.app import serve
from diffmask_service.cli.output import say
from diffmask_service.config import (
    add_flags,
    format_config,
    read_config,
    wrong_settings,
)
from diffmask_service.listeners import Addresses
from diffmask_service.telemetry import configure_logging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Serve one --bundle, or a --repository of several, over gRPC until SIGTERM or"
        " SIGINT, then finish what was begun. Every flag is also a variable:"
        " --queue-tokens is DIFFMASK_QUEUE_TOKENS; a flag beats a variable. Defaults"
        " stand in brackets, and after them the least and the most that is taken."
    )
    parser.add_argument(
        "directory",
        metavar="BUNDLE",
        nargs="?",
        help="The same as --bundle BUNDLE.",
    )
    add_flags(parser)
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="Print the effective settings, secrets masked, and exit.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve, or print the settings."""
    config = read_config(_flags(arguments), os.environ)
    if arguments.print_config:
        say(format_config(config))
        return 0
    configure_logging(
        config.log_level, log_format="json" if config.log_format == "json" else "text"
    )
    asyncio.run(serve(config, on_ready=_announce))
    return 0


def _flags(arguments: argparse.Namespace) -> Mapping[str, object]:
    flags = vars(arguments)
    if arguments.directory is None:
        return flags
    if "bundle" in flags:
        raise wrong_settings(["BUNDLE: and --bundle are both given; give one of them"])
    return {**flags, "bundle": arguments.directory}


def _announce(addresses: Addresses) -> None:
    health, console = addresses.health_target, addresses.console_url
    say(
        f"ready: gRPC on {addresses.grpc_target}, metrics on {addresses.metrics_url}"
        + ("" if health is None else f", health on {health}")
        + ("" if console is None else f", console on {console}")
    )
