"""Every open port: opened as one, closed in an order that fails no call.

The half of the composition that a server has and `explain --bundle` has not.
"""

import asyncio
import logging
from dataclasses import dataclass

import grpc

from diffmask_service.config import ServiceConfig
from diffmask_service.render import stylesheet
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc import accepting
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.model_health import tell_of_models
from diffmask_service.transport.grpc.server import (
    SERVICE_NAMES,
    bind,
    bind_health,
    build_health_server,
    build_server,
    join_address,
)
from diffmask_service.transport.http.console.opening import (
    ConsoleSettings,
    HttpListener,
    open_console,
)
from diffmask_service.transport.http.server import MetricsServer

_LOG = logging.getLogger(__name__)
# A call that arrives in the very moment in which gRPC's asyncio server stops accepting
# is cut off with CANCELLED (seen in 2 of 24 callers that kept calling). So the listener
# stays up a little longer than the work lasts, and refuses: callers that keep calling
# hear UNAVAILABLE and go elsewhere before the door closes.
_LAME_DUCK_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a server listens.

    Attributes:
        host: Address of all listeners.
        grpc_port: Port of gRPC.
        metrics_port: Port of HTTP: `/metrics`, and the console where there is one.
        health_port: Port for probes without a token; None when gRPC's own will do.
        has_metrics_tls: Whether HTTP is encrypted.
        has_console: Whether there is a console.
    """

    host: str
    grpc_port: int
    metrics_port: int
    health_port: int | None = None
    has_metrics_tls: bool = False
    has_console: bool = False

    @property
    def grpc_target(self) -> str:
        """What a gRPC client connects to."""
        return join_address(self.host, self.grpc_port)

    @property
    def metrics_url(self) -> str:
        """Where the metrics are."""
        return f"{self._http_url}/metrics"

    @property
    def console_url(self) -> str | None:
        """Where the console is; None without one."""
        return f"{self._http_url}/console/" if self.has_console else None

    @property
    def health_target(self) -> str | None:
        """What a probe connects to; None when that is `grpc_target`."""
        if self.health_port is None:
            return None
        return join_address(self.host, self.health_port)

    @property
    def _http_url(self) -> str:
        scheme = "https" if self.has_metrics_tls else "http"
        return f"{scheme}://{join_address(self.host, self.metrics_port)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """What a server listens with.

    Attributes:
        repository: What is served.
        health: What probes are told.
        stopping: Set once no stream is to take in more.
        server: Of all gRPC calls.
        health_server: Of probes without a token; without a port it serves nobody.
        http: Of metrics, and of the console where there is one.
        addresses: Where they listen.
    """

    repository: Repository
    health: HealthServicer
    stopping: asyncio.Event
    server: grpc.aio.Server
    health_server: grpc.aio.Server
    http: HttpListener
    addresses: Addresses


async def listen(
    config: ServiceConfig, repository: Repository, telemetry: Telemetry
) -> Listeners:
    """Open every listener; nothing is loaded yet.

    Args:
        config: Settings.
        repository: What is served; closed when a listener cannot be opened.
        telemetry: Where calls count.

    Raises:
        StartError: A port is taken, or a certificate cannot be read.
    """
    settings = config.grpc_settings
    health = HealthServicer(SERVICE_NAMES)
    tell_of_models(repository, health)
    stopping = asyncio.Event()
    server = build_server(
        repository,
        health,
        telemetry=telemetry,
        settings=settings,
        stopping=stopping,
        control=repository if config.model_control else None,
    )
    # Without a port it serves nobody, and stops like any other.
    health_server = build_health_server(health)
    health_port = http = None
    try:
        grpc_port = bind(server, settings)
        if config.has_health_listener:
            health_port = bind_health(
                health_server, host=config.host, port=config.health_port
            )
        http = _listen_for_http(config, repository, telemetry, stopping)
        await accepting.start(server)
        await accepting.start(health_server)
    except BaseException:
        if http is not None:
            http.stop()
        await server.stop(None)
        await health_server.stop(None)
        repository.close()
        raise
    return Listeners(
        repository=repository,
        health=health,
        stopping=stopping,
        server=server,
        health_server=health_server,
        http=http,
        addresses=Addresses(
            host=config.host,
            grpc_port=grpc_port,
            metrics_port=http.port,
            health_port=health_port,
            has_metrics_tls=config.metrics_tls,
            has_console=config.console,
        ),
    )


async def stop(listeners: Listeners, *, drain_seconds: float) -> None:
    """Finish what was taken and close every listener, and the repository.

    Args:
        listeners: Of `listen`.
        drain_seconds: How long requests in progress may take.
    """
    _LOG.info("stopping")
    loop = asyncio.get_running_loop()
    began = loop.time()
    # Balancers that watch health send their calls elsewhere before any is refused. A
    # model that recovers, or is loaded, meanwhile brings none of them back.
    listeners.health.begin_stop()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Streams take in nothing more and end once they have answered.
    listeners.stopping.set()
    if not await listeners.repository.drain(drain_seconds):
        _LOG.warning("requests were still in progress after %s s", drain_seconds)
    listeners.health.close()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Answers that are written but not yet sent get what is left of the time.
    await listeners.server.stop(max(1.0, drain_seconds - (loop.time() - began)))
    await listeners.health_server.stop(None)
    # Beside the loop, which has yet to answer what its thread waits for.
    await asyncio.to_thread(listeners.http.stop)
    listeners.repository.close()
    _LOG.info("stopped")


def _listen_for_http(
    config: ServiceConfig,
    repository: Repository,
    telemetry: Telemetry,
    stopping: asyncio.Event,
) -> HttpListener:
    tls = config.tls_files if config.metrics_tls else None
    if not config.console:
        return MetricsServer(
            telemetry.registry,
            host=config.host,
            port=config.metrics_port,
            tokens=config.metrics_tokens,
            tls=tls,
        ).start()
    settings = ConsoleSettings(
        host=config.host,
        port=config.metrics_port,
        metrics_tokens=config.metrics_tokens,
        tls=tls,
        calls=config.grpc_settings,
    )
    return open_console(
        repository,
        settings,
        telemetry=telemetry,
        stopping=stopping,
        stylesheet=stylesheet(),
    )
