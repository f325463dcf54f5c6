"""The HTTP listener: `/metrics` in the Prometheus text format, and nothing else."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from diffmask_service.errors import StartError
from diffmask_service.transport.http.names import names_of, refusal
from diffmask_service.transport.tls import TlsFiles, http_context
from diffmask_service.transport.tokens import TokenFile

# A scrape needs one. Each has a thread, and nobody has shown a token yet.
_MAX_CONNECTIONS = 64
_ARRIVAL_SECONDS = 10.0
_SERVER = "diffmask"
# What the server is made of is nobody's business, and what it shows changes.
_HEADERS = (
    ("Server", _SERVER),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)


class _QuietHandler(WSGIRequestHandler):
    # A silent client must not hold a thread for ever, nor one that reads nothing.
    timeout = 10
    server_version = _SERVER
    sys_version = ""

    def setup(self) -> None:
        """Begin to wait for the request."""
        super().setup()
        # The other limit is for one piece, and a client may send as many as it likes.
        self._arriving = threading.Timer(
            self.server.arrival_seconds,  # type: ignore[attr-defined]
            _cut_off,
            [self.connection],
        )
        self._arriving.daemon = True
        self._arriving.start()

    def parse_request(self) -> bool:
        """Read the request; return whether it is one."""
        is_request = super().parse_request()
        self._arriving.cancel()
        return is_request

    def finish(self) -> None:
        """Wait no longer."""
        self._arriving.cancel()
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Log nothing: a scrape is no event."""


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    secure: Callable[[], ssl.SSLContext] | None = None
    arrival_seconds = _ARRIVAL_SECONDS
    room: threading.BoundedSemaphore

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread; close it where there are too many."""
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self.room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and make room for another."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its handshake waits for the thread that serves it."""
        connection, address = super().get_request()
        if self.secure is not None:
            connection = self.secure().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that break off or fail the handshake."""


class _ThreadedServerOfIpv6(_ThreadedServer):
    address_family = socket.AF_INET6


class MetricsServer:
    """A listener on a thread of its own.

    Args:
        registry: What to show.
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.
        tokens: Tokens to ask for; None shows the metrics to everybody.
        tls: Certificate; None for plain text.
        max_connections: Most connections at a time, >= 1; further ones are closed.
        arrival_seconds: Time for a request to arrive whole, seconds, > 0.

    Attributes:
        port: Port that it listens on.

    Raises:
        StartError: The address cannot be listened on, or the certificate not be used.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        host: str,
        port: int,
        tokens: TokenFile | None = None,
        tls: TlsFiles | None = None,
        max_connections: int = _MAX_CONNECTIONS,
        arrival_seconds: float = _ARRIVAL_SECONDS,
    ) -> None:
        secure = None if tls is None else http_context(tls)
        try:
            self._server = make_server(
                host,
                port,
                _only_metrics(make_wsgi_app(registry), tokens, names_of(host)),
                _ThreadedServerOfIpv6 if ":" in host else _ThreadedServer,
                _QuietHandler,
            )
        except OSError as error:
            raise StartError(
                f"cannot listen for metrics on {host}:{port} ({error.strerror}); free"
                " the port or choose another with --metrics-port"
            ) from error
        self._server.secure = secure
        self._server.arrival_seconds = arrival_seconds
        self._server.room = threading.BoundedSemaphore(max_connections)
        self.port = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="diffmask-metrics", daemon=True
        )

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _cut_off(connection: socket.socket) -> None:
    with suppress(OSError):
        # Not by way of TLS, which would leave the socket open and without it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _only_metrics(
    metrics: Callable[..., Any], tokens: TokenFile | None, names: tuple[str, ...]
) -> Callable[..., Iterable[bytes]]:
    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, *_HEADERS], *rest)

        plain = ("Content-Type", "text/plain")
        header = environ.get("HTTP_AUTHORIZATION", "")
        if tokens is None:
            # With tokens there is no need: a stranger's page has none.
            reason = refusal(names, environ.get("HTTP_HOST", ""))
            if reason is not None:
                start("403 Forbidden", [plain])
                return [f"{reason}\n".encode()]
        elif not tokens.admits(header):
            wanted = ("WWW-Authenticate", "Bearer")
            start("401 Unauthorized", [plain, wanted])
            return [b"send a metrics token\n"]
        if environ["PATH_INFO"] == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start)
            return answer
        start("404 Not Found", [plain])
        return [b"only /metrics is here\n"]

    return application
