"""How a command reaches a server: flags, and the client that they make."""

import argparse
from pathlib import Path

import grpc

from diffmask_service.cli.arguments import DEFAULT_SERVER
from diffmask_service.client import AsyncClient, Client, tls_credentials
from diffmask_service.errors import InvalidInput


def add_server(container: argparse._ActionsContainer) -> None:
    """Describe which server to ask.

    Args:
        container: A parser, or a group of it.
    """
    container.add_argument(
        "--server",
        metavar="HOST:PORT",
        default=DEFAULT_SERVER,
        help="The server to ask. [%(default)s]",
    )


def add_model(parser: argparse._ActionsContainer) -> None:
    """Describe which of a server's models is asked."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default="",
        help="Which model of the server to ask. [the only one]",
    )
    parser.add_argument(
        "--version",
        metavar="NUMBER",
        default="",
        help="Which version of the model. [the highest that is ready]",
    )


def add_security(parser: argparse.ArgumentParser) -> None:
    """Describe how the channel is secured and who asks."""
    parser.add_argument(
        "--tls",
        action="store_true",
        help="Encrypt, and trust the authorities of the system.",
    )
    parser.add_argument(
        "--tls-roots",
        metavar="FILE",
        type=Path,
        help="Encrypt, and trust the authorities in this PEM file instead. [none]",
    )
    parser.add_argument(
        "--tls-certificate",
        metavar="FILE",
        type=Path,
        help="Show this certificate chain to a server that asks for one; encrypts."
        " [none]",
    )
    parser.add_argument(
        "--tls-key",
        metavar="FILE",
        type=Path,
        help="The certificate's private key. [none]",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="Bring the token in the first line of this file. [none]",
    )
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="Let the token leave this machine without encryption.",
    )


def connect(
    arguments: argparse.Namespace, *, timeout_seconds: float, retries: bool = True
) -> Client:
    """Return a client for the server that the flags name.

    Args:
        arguments: What was parsed.
        timeout_seconds: Time for a call, seconds, > 0.
        retries: Whether a call that finds the server full or absent is tried again.

    Raises:
        InvalidInput: A file cannot be read, or the flags contradict each other.
    """
    return Client(
        arguments.server,
        credentials=_credentials(arguments),
        timeout_seconds=timeout_seconds,
        token=_read_token(arguments.token_file),
        retries=retries,
        insecure=arguments.insecure,
    )


def connect_async(
    arguments: argparse.Namespace, *, timeout_seconds: float
) -> AsyncClient:
    """Return a client for event loops; otherwise like `connect`."""
    return AsyncClient(
        arguments.server,
        credentials=_credentials(arguments),
        timeout_seconds=timeout_seconds,
        token=_read_token(arguments.token_file),
        insecure=arguments.insecure,
    )


def _credentials(arguments: argparse.Namespace) -> grpc.ChannelCredentials | None:
    files = {
        "roots": arguments.tls_roots,
        "certificate": arguments.tls_certificate,
        "key": arguments.tls_key,
    }
    is_secure = arguments.tls or any(files.values())
    return tls_credentials(**files) if is_secure else None


def _read_token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise InvalidInput(
            f"--token-file {path}: cannot be read ({error.strerror})"
        ) from error
    except UnicodeDecodeError:
        # Not chained: the error holds the bytes of the file.
        raise InvalidInput(
            f"--token-file {path}: holds more than ASCII characters"
        ) from None
    if not lines:
        raise InvalidInput(f"--token-file {path}: is empty; write the token into it")
    return lines[0]
