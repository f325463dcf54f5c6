"""Puts the console together, or says what to install for it."""

import asyncio
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from diffmask_service.errors import StartError
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.server import GrpcSettings, open_access
from diffmask_service.transport.grpc.servicer import ExplainerServicer
from diffmask_service.transport.http.console.calls import JsonCalls
from diffmask_service.transport.http.names import names_of
from diffmask_service.transport.tls import TlsFiles
from diffmask_service.transport.tokens import TokenFile

_PACKAGE = "diffmask_service.transport.http.console"


class HttpListener(Protocol):
    """A listener that answers on a thread of its own."""

    port: int

    def stop(self) -> None:
        """Stop listening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the HTTP listener needs to know.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.
        metrics_tokens: Tokens that `/metrics` asks for; None shows it to everybody.
        tls: Certificate; None for plain text.
        calls: What holds for calls of the API over gRPC, and so for these.
    """

    host: str
    port: int
    metrics_tokens: TokenFile | None
    tls: TlsFiles | None
    calls: GrpcSettings


def open_console(
    repository: Repository,
    settings: ConsoleSettings,
    *,
    telemetry: Telemetry,
    stopping: asyncio.Event,
    stylesheet: str,
) -> HttpListener:
    """Listen for browsers, and answer them from the running event loop.

    Args:
        repository: What answers.
        settings: Limits, tokens and where to listen.
        telemetry: Where calls are counted, and what `/metrics` shows.
        stopping: Set when the server begins to stop.
        stylesheet: The style of pages with explanations, CSS.

    Raises:
        StartError: The extra is not installed, the address cannot be listened on, or a
            file of tokens or the certificate cannot be used.
    """
    try:
        application: Any = import_module(f"{_PACKAGE}.application")
        listener: Any = import_module(f"{_PACKAGE}.listener")
    except ModuleNotFoundError as error:
        raise StartError(
            "the console needs Starlette and Uvicorn; install"
            " diffmask-service[console], or leave out --console"
        ) from error
    servicer = ExplainerServicer(
        repository, stopping=stopping, stream_window=settings.calls.stream_window
    )
    limits = application.HttpLimits(
        max_message_bytes=settings.calls.max_message_bytes,
        # As for gRPC, where twice the limit is never let in.
        max_header_bytes=2 * settings.calls.max_metadata_bytes,
        names=names_of(settings.host),
    )
    answering = application.build_application(
        JsonCalls(servicer, open_access(settings.calls.security), telemetry=telemetry),
        registry=telemetry.registry,
        metrics_tokens=settings.metrics_tokens,
        limits=limits,
        stylesheet=stylesheet,
    )
    opened: HttpListener = listener.ConsoleServer(
        answering,
        host=settings.host,
        port=settings.port,
        max_header_bytes=limits.max_header_bytes,
        tls=settings.tls,
    ).start()
    return opened
