"""What both clients' channels share: options, and the meaning of a failure."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from diffmask_service.client.retries import service_config
from diffmask_service.errors import (
    DeadlineError,
    DiffMaskError,
    InvalidInput,
    NotFound,
    NotReadyError,
    OverloadedError,
    PermissionDenied,
    ServerError,
    Unauthenticated,
)

_PUSHBACK = "grpc-retry-pushback-ms"
# To the end: a name may begin like an address, and an address be one of several.
_LOOPBACK = re.compile(
    r"((ipv4:)?127(\.\d{1,3}){3}|localhost|(ipv6:)?\[::1\])(:\d+)?|unix:.+"
)


def channel_options(*, retries: bool) -> Sequence[tuple[str, Any]]:
    """Return the options of a channel.

    Args:
        retries: Whether calls are tried again by the policy of `retries`.
    """
    options: list[tuple[str, Any]] = [
        # A batch of long texts with every gate of a deep model passes gRPC's default
        # of 4 MiB.
        ("grpc.max_receive_message_length", 256 * 2**20),
        # A stream has no deadline of its own; this finds out that nobody is there.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.enable_retries", int(retries)),
    ]
    if retries:
        options.append(("grpc.service_config", service_config()))
    return options


def bearer(
    token: str | None, *, target: str, is_secure: bool, insecure: bool
) -> tuple[tuple[str, str], ...]:
    """Return the headers of a call that brings a token.

    Args:
        token: The token; None for none.
        target: Host and port of the server.
        is_secure: Whether the channel is encrypted.
        insecure: Whether the token may travel in plain text.

    Raises:
        InvalidInput: It may not, and would.
    """
    if token is None:
        return ()
    if not (is_secure or insecure or _LOOPBACK.fullmatch(target)):
        raise InvalidInput(
            f"the token would travel to {target} in plain text; give credentials, or"
            " allow it with insecure=True in a network that you trust"
        )
    return (("authorization", f"Bearer {token}"),)


def tls_credentials(
    *,
    roots: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> grpc.ChannelCredentials:
    """Return what encrypts a channel.

    Args:
        roots: PEM file of the authorities to trust; None for those of the system.
        certificate: PEM file of the client's own certificate chain, where the server
            asks for one; goes with `key`.
        key: PEM file of its private key.

    Raises:
        InvalidInput: A file cannot be read, or one of the pair is missing.
    """
    if (certificate is None) != (key is None):
        raise InvalidInput("a client certificate and its key go together; give both")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(roots),
        private_key=_read(key),
        certificate_chain=_read(certificate),
    )


def translate(error: Any, target: str) -> DiffMaskError:
    """Return the error that a failed call stands for.

    Args:
        error: What the channel raised.
        target: Host and port of the server, for the message.
    """
    # Both of gRPC's error classes answer to these three methods, but share no base that
    # declares them.
    trailer = dict(error.trailing_metadata() or ())
    return error_of(
        error.code(),
        error.details() or "no details given",
        retry_after_seconds=_pushback(trailer) if _PUSHBACK in trailer else None,
        target=target,
    )


def error_of(
    code: grpc.StatusCode,
    message: str,
    *,
    retry_after_seconds: float | None,
    target: str,
) -> DiffMaskError:
    """Return the error that a status stands for.

    Args:
        code: The status.
        message: What the server said.
        retry_after_seconds: Its hint when to try again, seconds; None for none.
        target: Host and port of the server, for the message.
    """
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidInput(message)
        case grpc.StatusCode.NOT_FOUND:
            return NotFound(message)
        case grpc.StatusCode.UNAUTHENTICATED:
            return Unauthenticated(message)
        case grpc.StatusCode.PERMISSION_DENIED:
            return PermissionDenied(message)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(
                f"{target} did not answer in time: {message}",
                retry_after_seconds=retry_after_seconds,
            )
        case grpc.StatusCode.UNAVAILABLE:
            return NotReadyError(f"{target} is not ready: {message}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if retry_after_seconds is not None:
            return OverloadedError(message, retry_after_seconds=retry_after_seconds)
        case _:
            # Exhaustion with no hint when to retry is a message over a size limit,
            # which waiting does not cure.
            return ServerError(f"{target} failed: {message}", code=code.name)


def _pushback(trailer: Mapping[str, str | bytes]) -> float:
    try:
        return max(0, int(trailer[_PUSHBACK])) / 1000
    except ValueError:
        return 0.0


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
