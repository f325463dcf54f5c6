"""The composition root: builds every part in order and takes them down in reverse."""

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from diffmask_service.bundle import read_bundle
from diffmask_service.config import ServiceConfig, wrong_settings
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.render import stylesheet
from diffmask_service.repository import (
    ModelFolder,
    ModelState,
    OneBundle,
    Repository,
    spare_living,
    watch,
)
from diffmask_service.telemetry import Telemetry, connect_tracer
from diffmask_service.transport.grpc import accepting
from diffmask_service.transport.grpc.health import HealthServicer
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
class _Parts:
    repository: Repository
    health: HealthServicer
    stopping: asyncio.Event
    server: grpc.aio.Server
    health_server: grpc.aio.Server
    http: HttpListener
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
    config: ServiceConfig,
    *,
    on_ready: Callable[[Addresses], None] | None = None,
    repository: Repository | None = None,
) -> None:
    """Serve until the process is told to stop, then finish what was taken.

    The server listens before its models are loaded, so that probes can tell a server
    that loads from one that hangs. SIGHUP has the models looked at again. SIGTERM and
    SIGINT begin the stop: health says so first, new requests are refused, those in
    progress are answered within `drain_seconds`.

    Args:
        config: Settings.
        on_ready: Told where the server listens, once it answers.
        repository: What to serve; None for what the settings name.

    Raises:
        BundleError: No bundle can be used.
        StartError: A port is taken or a dependency is missing.
    """
    if problems := config.contradictions():
        raise wrong_settings(problems)
    stop, look = asyncio.Event(), asyncio.Event()
    traces = config.trace_settings
    telemetry = Telemetry(
        by_state=config.metrics_by_state,
        tracer=None if traces is None else connect_tracer(traces),
    )
    on_signal = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: look}
    with closing(telemetry), _set_on_signal(on_signal):
        repository = repository or build_repository(config, telemetry)
        parts = await _listen(config, repository, telemetry)
        try:
            if await _until(stop, parts.repository.start()):
                return
            _tell_of_server(parts.repository, parts.health)
            _LOG.info("ready on %s", parts.addresses.grpc_target)
            if on_ready is not None:
                on_ready(parts.addresses)
            watching = watch(parts.repository, look, poll_seconds=config.poll_seconds)
            await _until(stop, watching)
        finally:
            await _stop(parts, drain_seconds=config.drain_seconds)


async def _listen(
    config: ServiceConfig, repository: Repository, telemetry: Telemetry
) -> _Parts:
    settings = config.grpc_settings
    health = HealthServicer(SERVICE_NAMES)
    _tell_of_models(repository, health)
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
    return _Parts(
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


def build_repository(config: ServiceConfig, telemetry: Telemetry) -> Repository:
    """Return the repository that the settings describe, with nothing loaded yet.

    Args:
        config: Settings.
        telemetry: Where its engines count.
    """
    if config.repository != Path():
        source: ModelFolder | OneBundle = ModelFolder(config.repository)
    else:
        source = OneBundle(config.bundle)
    return Repository(
        source=source,
        open_engine=functools.partial(
            Engine.open,
            limits=config.engine_limits,
            telemetry=telemetry,
            precision=config.precision or None,
        ),
        max_versions=config.max_versions,
        on_change=spare_living,
    )


def _tell_of_models(repository: Repository, health: HealthServicer) -> None:
    def tell(name: str, version: str, is_ready: bool) -> None:  # noqa: FBT001
        states = {
            entry.version: entry.state
            for entry in repository.index()
            if entry.name == name
        }
        if version in states:
            health.set_model_ready(f"{name}/{version}", is_ready=is_ready)
        else:
            health.forget_model(f"{name}/{version}")
        if states:
            health.set_model_ready(name, is_ready=ModelState.READY in states.values())
        else:
            health.forget_model(name)

    repository.subscribe(tell)


def _tell_of_server(repository: Repository, health: HealthServicer) -> None:
    # The server as a whole is ready once all that can be loaded is, and some of it
    # answers.
    def tell(_name: str, _version: str, _is_ready: bool) -> None:  # noqa: FBT001
        health.set_ready(repository.is_ready)

    repository.subscribe(tell)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Work until it is done or the process is told to stop; return which it was."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
        return stop.is_set()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


async def _stop(parts: _Parts, *, drain_seconds: float) -> None:
    _LOG.info("stopping")
    loop = asyncio.get_running_loop()
    began = loop.time()
    # Balancers that watch health send their calls elsewhere before any is refused. A
    # model that recovers, or is loaded, meanwhile brings none of them back.
    parts.health.begin_stop()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Streams take in nothing more and end once they have answered.
    parts.stopping.set()
    if not await parts.repository.drain(drain_seconds):
        _LOG.warning("requests were still in progress after %s s", drain_seconds)
    parts.health.close()
    await asyncio.sleep(min(_LAME_DUCK_SECONDS, drain_seconds))
    # Answers that are written but not yet sent get what is left of the time.
    await parts.server.stop(max(1.0, drain_seconds - (loop.time() - began)))
    await parts.health_server.stop(None)
    # Beside the loop, which has yet to answer what its thread waits for.
    await asyncio.to_thread(parts.http.stop)
    parts.repository.close()
    _LOG.info("stopped")


@contextmanager
def _set_on_signal(events: Mapping[signal.Signals, asyncio.Event]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, event in events.items():
        loop.add_signal_handler(number, event.set)
    try:
        yield
    finally:
        for number in events:
            loop.remove_signal_handler(number)
