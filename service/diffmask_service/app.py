"""The composition root: builds every part in order and takes them down in reverse.

What listens is built and taken down by `listeners`.
"""

import asyncio
import functools
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from diffmask_service.bundle import read_bundle
from diffmask_service.config import ServiceConfig, wrong_settings
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.listeners import Addresses, listen, stop
from diffmask_service.repository import (
    ModelFolder,
    OneBundle,
    Repository,
    spare_living,
    watch,
)
from diffmask_service.telemetry import Telemetry, connect_tracer
from diffmask_service.transport.grpc.model_health import tell_of_server

_LOG = logging.getLogger(__name__)


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
    stop_asked, look = asyncio.Event(), asyncio.Event()
    traces = config.trace_settings
    telemetry = Telemetry(
        by_state=config.metrics_by_state,
        tracer=None if traces is None else connect_tracer(traces),
    )
    on_signal = {
        signal.SIGTERM: stop_asked,
        signal.SIGINT: stop_asked,
        signal.SIGHUP: look,
    }
    with closing(telemetry), _set_on_signal(on_signal):
        repository = repository or build_repository(config, telemetry)
        listeners = await listen(config, repository, telemetry)
        try:
            if await _until(stop_asked, repository.start()):
                return
            tell_of_server(repository, listeners.health)
            _LOG.info("ready on %s", listeners.addresses.grpc_target)
            if on_ready is not None:
                on_ready(listeners.addresses)
            watching = watch(repository, look, poll_seconds=config.poll_seconds)
            await _until(stop_asked, watching)
        finally:
            await stop(listeners, drain_seconds=config.drain_seconds)


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


async def _until(stop_asked: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Work until it is done or the process is told to stop; return which it was."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop_asked.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
        return stop_asked.is_set()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


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
