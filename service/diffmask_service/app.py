"""The composition root: builds every part in order and takes them down in reverse."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from diffmask_service.bundle import read_bundle
from diffmask_service.config import ServiceConfig, wrong_settings
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    bind,
    bind_health,
    build_health_server,
    build_server,
    join_address,
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
        metrics_port: Port of `/metrics`.
        health_port: Port for probes without a token; None when gRPC's own will do.
        has_metrics_tls: Whether `/metrics` is encrypted.
    """

    host: str
    grpc_port: int
    metrics_port: int
    health_port: int | None = None
    has_metrics_tls: bool = False

    @property
    def grpc_target(self) -> str:
        """What a gRPC client connects to."""
        return join_address(self.host, self.grpc_port)

    @property
    def metrics_url(self) -> str:
        """Where the metrics are."""
        scheme = "https" if self.has_metrics_tls else "http"
        return f"{scheme}://{join_address(self.host, self.metrics_port)}/metrics"

    @property
    def health_target(self) -> str | None:
        """What a probe connects to; None when that is `grpc_target`."""
        if self.health_port is None:
            return None
        return join_address(self.host, self.health_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    engine: Engine
    health: HealthServicer
    stopping: asyncio.Event
    server: grpc.aio.Server
    health_server: grpc.aio.Server
    metrics: MetricsServer
    addresses: Addresses


def open_engine(
    directory: Path,
    *,
    precision: str | None = None,
    limits: EngineLimits | None = None,
    telemetry: Telemetry | None = None,
) -> Engine:
    """Load a bundle, check it and make it ready to answer.

    Args:
        directory: The bundle.
        precision: Which of its graphs to run; None for its default.
        limits: Bounds on requests; None for the defaults.
        telemetry: Where to count; None counts for nobody.

    Raises:
        BundleError: The bundle cannot be used; the error names what is wrong with it.
        StartError: ONNX Runtime is not installed.
    """
    return Engine.open(
        read_bundle(directory), limits=limits, telemetry=telemetry, precision=precision
    )


async def serve(
    config: ServiceConfig, *, on_ready: Callable[[Addresses], None] | None = None
) -> None:
    """Serve until the process is told to stop, then finish what was taken.

    SIGTERM and SIGINT begin the stop: health says so first, new requests are refused,
    those in progress are answered within `drain_seconds`.

    Args:
        config: Settings.
        on_ready: Told where the server listens, once it answers.

    Raises:
        BundleError: The bundle cannot be used.
        StartError: A port is taken or a dependency is missing.
    """
    stop = asyncio.Event()
    with _stop_on_signal(stop):
        parts = await _start(config)
        try:
            parts.engine.on_readiness(parts.health.set_ready)
            _LOG.info("ready on %s", parts.addresses.grpc_target)
            if on_ready is not None:
                on_ready(parts.addresses)
            await stop.wait()
        finally:
            await _stop(parts, drain_seconds=config.drain_seconds)


async def _start(config: ServiceConfig) -> _Parts:
    if problems := config.contradictions():
        raise wrong_settings(problems)
    telemetry = Telemetry()
    engine = await asyncio.to_thread(
        open_engine,
        config.bundle,
        precision=config.precision or None,
        limits=config.engine_limits,
        telemetry=telemetry,
    )
    settings = config.grpc_settings
    health = HealthServicer({SERVICE.full_name, engine.description.identity.id})
    stopping = asyncio.Event()
    server = build_server(
        Repository([engine]),
        health,
        telemetry=telemetry,
        settings=settings,
        stopping=stopping,
    )
    # Without a port it serves nobody, and stops like any other.
    health_server = build_health_server(health)
    health_port = metrics = None
    try:
        grpc_port = bind(server, settings)
        if config.has_health_listener:
            health_port = bind_health(
                health_server, host=config.host, port=config.health_port
            )
        metrics = MetricsServer(
            telemetry.registry,
            host=config.host,
            port=config.metrics_port,
            tokens=config.metrics_tokens,
            tls=config.tls_files if config.metrics_tls else None,
        ).start()
        await server.start()
        await health_server.start()
    except BaseException:
        if metrics is not None:
            metrics.stop()
        await server.stop(None)
        await health_server.stop(None)
        engine.close()
        raise
    return _Parts(
        engine=engine,
        health=health,
        stopping=stopping,
        server=server,
        health_server=health_server,
        metrics=metrics,
        addresses=Addresses(
            host=config.host,
            grpc_port=grpc_port,
            metrics_port=metrics.port,
            health_port=health_port,
            has_metrics_tls=config.metrics_tls,
        ),
    )


async def _stop(parts: _Parts, *, drain_seconds: float) -> None:
    _LOG.info("stopping")
    loop = asyncio.get_running_loop()
    began = loop.time()
    # Streams take in nothing more and end once they have answered.
    parts.stopping.set()
    # Draining tells health first, then refuses new requests.
    if not await parts.engine.drain(drain_seconds):
        _LOG.warning("requests were still in progress after %s s", drain_seconds)
    parts.health.close()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Answers that are written but not yet sent get what is left of the time.
    await parts.server.stop(max(1.0, drain_seconds - (loop.time() - began)))
    await parts.health_server.stop(None)
    parts.metrics.stop()
    parts.engine.close()
    _LOG.info("stopped")


@contextmanager
def _stop_on_signal(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
