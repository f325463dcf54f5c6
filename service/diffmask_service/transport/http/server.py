"""The HTTP listener: `/metrics` in the Prometheus text format, and nothing else."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from diffmask_service.errors import StartError


class _QuietHandler(WSGIRequestHandler):
    # A slow or silent client must not hold a thread for ever.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - inherited
        """Log nothing: a scrape is no event."""


class _ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class MetricsServer:
    """A listener on a thread of its own.

    Args:
        registry: What to show.
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.

    Attributes:
        port: Port that it listens on.

    Raises:
        StartError: The address cannot be listened on.
    """

    def __init__(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        try:
            self._server = make_server(
                host,
                port,
                _only_metrics(make_wsgi_app(registry)),
                _ThreadedServer,
                _QuietHandler,
            )
        except OSError as error:
            raise StartError(
                f"cannot listen for metrics on {host}:{port} ({error.strerror}); free"
                " the port or choose another with --metrics-port"
            ) from error
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


def _only_metrics(metrics: Callable[..., Any]) -> Callable[..., Iterable[bytes]]:
    def application(
        environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"only /metrics is here\n"]

    return application
