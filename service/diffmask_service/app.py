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
from diffmask_service.config import ServiceConfig
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc import accepting
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSettings,
    bind,
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
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a server listens.

    Attributes:
        host: Address of both listeners.
        grpc_port: Port of gRPC.
        metrics_port: Port of `/metrics`.
    """

    host: str
    grpc_port: int
    metrics_port: int

    @property
    def grpc_target(self) -> str:
        """What a gRPC client connects to."""
        return join_address(self.host, self.grpc_port)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    engine: Engine
    health: HealthServicer
    server: grpc.aio.Server
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
    if config.host not in _LOOPBACK:
        _LOG.warning(
            "listening on %s without encryption or authentication; keep strangers out",
            config.host,
        )
    telemetry = Telemetry()
    engine = await asyncio.to_thread(
        open_engine,
        config.bundle,
        precision=config.precision or None,
        limits=config.engine_limits,
        telemetry=telemetry,
    )
    settings = GrpcSettings(
        host=config.host,
        port=config.grpc_port,
        max_message_bytes=config.max_message_bytes,
        has_reflection=config.reflection,
    )
    health = HealthServicer({SERVICE.full_name, engine.description.identity.id})
    server = build_server(
        Repository([engine]), health, telemetry=telemetry, settings=settings
    )
    metrics = None
    try:
        grpc_port = bind(server, settings)
        metrics = MetricsServer(
            telemetry.registry, host=config.host, port=config.metrics_port
        ).start()
        await accepting.start(server)
    except BaseException:
        if metrics is not None:
            metrics.stop()
        await server.stop(None)
        engine.close()
        raise
    return _Parts(
        engine=engine,
        health=health,
        server=server,
        metrics=metrics,
        addresses=Addresses(
            host=config.host, grpc_port=grpc_port, metrics_port=metrics.port
        ),
    )


async def _stop(parts: _Parts, *, drain_seconds: float) -> None:
    _LOG.info("stopping")
    loop = asyncio.get_running_loop()
    began = loop.time()
    # Draining tells health first, then refuses new requests.
    if not await parts.engine.drain(drain_seconds):
        _LOG.warning("requests were still in progress after %s s", drain_seconds)
    parts.health.close()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Answers that are written but not yet sent get what is left of the time.
    await parts.server.stop(max(1.0, drain_seconds - (loop.time() - began)))
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
