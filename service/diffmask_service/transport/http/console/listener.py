"""Uvicorn on a thread of its own, so that no browser keeps a gRPC call waiting."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from diffmask_service.errors import StartError
from diffmask_service.transport.tls import TlsFiles, http_context

# A browser opens a handful, a scrape one.
_MAX_CONNECTIONS = 256
_ARRIVAL_SECONDS = 10.0
_TAKING_SECONDS = 60.0


class _PromptProtocol(H11Protocol):
    """Closes connections that bring no request in time, or take no answer.

    Uvicorn waits for ever for the first byte of a connection, for the rest of any
    request, and for an answer to be taken; and its limit refuses requests, not
    connections. A few hundred of them would leave nobody else served.

    Args:
        *args: Uvicorn's own.
        arrival_seconds: Time for the first request of a connection, seconds; a later
            one has what Uvicorn gives to a connection that is kept alive.
        taking_seconds: Time for an answer to be taken, seconds.
        **settings: Uvicorn's own.
    """

    def __init__(
        self,
        *args: Any,
        arrival_seconds: float,
        taking_seconds: float,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self._arrival_seconds = arrival_seconds
        self._taking_seconds = taking_seconds
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        # Told at the first byte that has to wait, and when the last is gone.
        transport.set_write_buffer_limits(high=1, low=0)
        self.timeout_keep_alive_task = self.loop.call_later(
            self._arrival_seconds, self.timeout_keep_alive_handler
        )
        most = self.limit_concurrency
        if most is not None and len(self.connections) > most:
            transport.abort()

    def pause_writing(self) -> None:
        """Begin to wait for an answer to be taken."""
        super().pause_writing()
        self._taking = self.loop.call_later(self._taking_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Wait no longer: it is."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()

    def data_received(self, data: bytes) -> None:
        """Take in what came; nothing less than a request ends the wait for it."""
        # Out of reach of Uvicorn, which ends it at the first byte.
        waiting, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        before = self.cycle
        super().data_received(data)
        if waiting is None:
            return
        if self.cycle is before:
            self.timeout_keep_alive_task = waiting
        else:
            waiting.cancel()


class ConsoleServer:
    """The HTTP listener with a console.

    Args:
        application: Answers every request.
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.
        max_header_bytes: Largest headers of a request, bytes.
        tls: Certificate; None for plain text.
        max_connections: Most connections at a time, >= 1; further ones are closed.
        arrival_seconds: Time for the first request of a connection, seconds, > 0.
        taking_seconds: Time for an answer to be taken, seconds, > 0.

    Attributes:
        port: Port that it listens on.

    Raises:
        StartError: The address cannot be listened on, or the certificate not be used.
    """

    def __init__(
        self,
        application: ASGIApp,
        *,
        host: str,
        port: int,
        max_header_bytes: int,
        tls: TlsFiles | None = None,
        max_connections: int = _MAX_CONNECTIONS,
        arrival_seconds: float = _ARRIVAL_SECONDS,
        taking_seconds: float = _TAKING_SECONDS,
    ) -> None:
        secure = None if tls is None else http_context(tls)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except OSError as error:
            raise StartError(
                f"cannot listen for HTTP on {host}:{port} ({error.strerror}); free the"
                " port or choose another with --metrics-port"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        protocol: Any = partial(
            _PromptProtocol,
            arrival_seconds=arrival_seconds,
            taking_seconds=taking_seconds,
        )
        config = uvicorn.Config(
            application,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=max_connections,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=max_header_bytes,
        )
        config.load()
        config.ssl = None if secure is None else _renewed(secure)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._socket]},
            name="diffmask-console",
            daemon=True,
        )

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def _renewed(secure: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    # A context that is asked at each handshake and gives way to the present one.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2

    def present(connection: ssl.SSLObject, *_: object) -> None:
        connection.context = secure()

    context.sni_callback = present
    return context
