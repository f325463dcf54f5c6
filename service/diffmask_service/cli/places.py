"""What answers: a bundle in this process or a server; flags and what they open."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffmask_service.cli.arguments import count, seconds
from diffmask_service.cli.connection import (
    add_model,
    add_security,
    add_server,
    connect_async,
)
from diffmask_service.errors import InvalidInput, StartError

if TYPE_CHECKING:
    from diffmask_service.audit import Answering
    from diffmask_service.audit.report import Removing


def add_places(parser: argparse.ArgumentParser) -> None:
    """Describe what answers many texts: a bundle here, or a server."""
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--bundle",
        metavar="DIR",
        type=Path,
        help="Run this bundle here, without a server. [none]",
    )
    add_server(place)
    parser.set_defaults(server=None)
    add_security(parser)
    parser.add_argument(
        "--workers",
        metavar="COUNT",
        type=count,
        help="Runs of the bundle's graph at the same time. [one a core]",
    )
    add_model(parser)
    parser.add_argument(
        "--timeout-seconds",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="Longest wait of the server's for one text, seconds. [%(default)s]",
    )


def check_places(
    arguments: argparse.Namespace, *, precision: str | None = None
) -> None:
    """Refuse flags of a server beside a bundle, and the other way round.

    Args:
        arguments: What was parsed.
        precision: Which graph of a bundle the command line names.

    Raises:
        InvalidInput: There are some.
    """
    if arguments.bundle is None and precision is not None:
        raise InvalidInput(
            "--precision: goes with --bundle; a server has chosen its own"
        )
    if arguments.bundle is not None and (arguments.model or arguments.version):
        raise InvalidInput(
            "--model, --version: choose among the models of a server; a bundle is one"
        )


def require_tables(what: str) -> None:
    """Refuse to go on without pyarrow.

    Args:
        what: What needs it, for the message.

    Raises:
        StartError: It is not installed; the message names the extra that brings it.
    """
    try:
        import pyarrow  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise StartError(
            f"{what} reads and writes tables with pyarrow, which is not installed;"
            " install diffmask-service[audit]"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """One model, the way that an audit asks it, and the way that its report does.

    Attributes:
        answering: Explains texts.
        removing: Predicts texts without some of their tokens.
    """

    answering: "Answering"
    removing: "Removing"


@asynccontextmanager
async def open_model(
    arguments: argparse.Namespace, *, precision: str | None, truncate: bool
) -> AsyncIterator[OpenModel]:
    """Open the bundle or the server that was named, for many texts.

    Args:
        arguments: What was parsed.
        precision: Which graph of a bundle to run; None for its choice.
        truncate: Cut a text over the token limit instead of refusing it.

    Raises:
        DiffMaskError: It cannot be used.
    """
    # Here and not above: other commands do without pyarrow.
    from diffmask_service.app import open_engine  # noqa: PLC0415
    from diffmask_service.audit import (  # noqa: PLC0415
        BundleAnswers,
        ServerAnswers,
        audit_limits,
    )
    from diffmask_service.audit.report import (  # noqa: PLC0415
        BundleRemoving,
        ServerRemoving,
    )
    from diffmask_service.engine.limits import count_cores  # noqa: PLC0415

    if arguments.bundle is not None:
        engine = open_engine(
            arguments.bundle,
            precision=precision,
            limits=audit_limits(arguments.workers or count_cores()),
        )
        try:
            yield OpenModel(
                answering=BundleAnswers(engine, truncate=truncate),
                removing=BundleRemoving(engine),
            )
        finally:
            engine.close()
        return
    client = connect_async(arguments, timeout_seconds=arguments.timeout_seconds)
    async with client:
        model = await client.get_model(arguments.model, arguments.version)
        yield OpenModel(
            answering=ServerAnswers(
                client, model, name=arguments.model, truncate=truncate
            ),
            removing=ServerRemoving(client, model.identity, name=arguments.model),
        )
