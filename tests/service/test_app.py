import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.app import serve
from diffmask_service.bundle import Bundle
from diffmask_service.config import ServiceConfig
from diffmask_service.engine import Engine
from diffmask_service.errors import BundleError, StartError
from diffmask_service.listeners import Addresses
from diffmask_service.repository import ModelFolder, Repository
from diffmask_service.wire.inference import messages
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.repository import put_bad_version, put_version

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def config(bundle: Path, **settings: object) -> ServiceConfig:
    ports = {"grpc_port": 0, "metrics_port": 0, "health_port": 0, "drain_seconds": 0.0}
    return ServiceConfig(bundle=bundle, **(ports | settings))  # type: ignore[arg-type]


async def serve_until_ready(
    settings: ServiceConfig,
) -> tuple[asyncio.Task[None], Addresses]:
    ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(settings, on_ready=ready.set_result))
    return server, await ready


async def status_of(stub: health_pb2_grpc.HealthStub, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    status: int = (await stub.Check(request, wait_for_ready=True)).status
    return status


async def until_serving(stub: health_pb2_grpc.HealthStub, service: str) -> None:
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=service))
    async for reply in watch:
        if reply.status == SERVING:
            break
    watch.cancel()


class Gate:
    """Holds up every load until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def open_engine(self, bundle: Bundle) -> Engine:
        self._opened.wait()
        return Engine.open(bundle)


@asynccontextmanager
async def loading_server(
    root: Path, gate: Gate
) -> AsyncIterator[tuple[asyncio.Task[None], grpc.aio.Channel]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = ServiceConfig(
        repository=root, grpc_port=port, metrics_port=0, drain_seconds=0.0
    )
    repository = Repository(source=ModelFolder(root), open_engine=gate.open_engine)
    server = asyncio.create_task(serve(settings, repository=repository))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
    gate.open()


async def test_liveness_is_answered_while_models_load(tmp_path: Path) -> None:
    put_version(tmp_path / "models", 1)
    gate = Gate()
    async with loading_server(tmp_path / "models", gate) as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        assert await status_of(health, "liveness") == SERVING
        for name in ("", "readiness", "tiny", "diffmask.v1.Explainer"):
            assert await status_of(health, name) == NOT_SERVING
        gate.open()
        await until_serving(health, "")
        assert await status_of(health, "tiny/1") == SERVING
        os.kill(os.getpid(), signal.SIGTERM)
        await server


async def test_a_signal_stops_a_server_that_loads(tmp_path: Path) -> None:
    put_version(tmp_path / "models", 1)
    async with loading_server(tmp_path / "models", Gate()) as (server, channel):
        health = health_pb2_grpc.HealthStub(channel)
        assert await status_of(health, "liveness") == SERVING
        os.kill(os.getpid(), signal.SIGTERM)
        await server


async def test_a_hangup_has_new_versions_loaded(tmp_path: Path) -> None:
    root = tmp_path / "models"
    put_version(root, 1)
    put_bad_version(root, 1, name="bad")
    settings = config(Path(), repository=root)
    server, addresses = await serve_until_ready(settings)
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert await status_of(health, "bad") == NOT_SERVING
        put_version(root, 2)
        os.kill(os.getpid(), signal.SIGHUP)
        await until_serving(health, "tiny/2")
        assert await status_of(health, "") == SERVING
    os.kill(os.getpid(), signal.SIGTERM)
    await server


async def test_new_versions_are_seen_by_the_clock(tmp_path: Path) -> None:
    root = tmp_path / "models"
    put_version(root, 1)
    settings = config(Path(), repository=root, poll_seconds=0.01)
    server, addresses = await serve_until_ready(settings)
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel:
        put_version(root, 2)
        await until_serving(health_pb2_grpc.HealthStub(channel), "tiny/2")
    os.kill(os.getpid(), signal.SIGTERM)
    await server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_server_in_order(
    tiny_directory: Path, number: signal.Signals
) -> None:
    server, addresses = await serve_until_ready(config(tiny_directory))
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel:
        stub: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
        models = await stub.ListModels(explain_pb2.ListModelsRequest())
    assert models.models[0].is_ready
    os.kill(os.getpid(), number)
    await server


async def test_ports_are_free_again_after_the_stop(tiny_directory: Path) -> None:
    server, addresses = await serve_until_ready(config(tiny_directory))
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server
    for port in (addresses.grpc_port, addresses.metrics_port):
        socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("setting", ["grpc_port", "metrics_port"])
async def test_a_taken_port_keeps_the_server_from_starting(
    tiny_directory: Path, setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port}"):
            await serve(config(tiny_directory, **{setting: port}))


async def test_a_missing_bundle_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such directory"):
        await serve(config(tmp_path / "absent"))


async def test_an_open_address_without_protection_is_refused(
    tiny_directory: Path,
) -> None:
    with pytest.raises(StartError, match=r"--host: 0\.0\.0\.0 .* --insecure"):
        await serve(config(tiny_directory, host="0.0.0.0"))


async def test_an_open_address_is_served_when_that_is_said_to_be_safe(
    tiny_directory: Path,
) -> None:
    settings = config(tiny_directory, host="0.0.0.0", insecure=True)
    server, addresses = await serve_until_ready(settings)
    assert addresses.health_target is None
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


@pytest.mark.parametrize("is_allowed", [True, False])
async def test_callers_unload_and_load_where_that_is_allowed(
    tmp_path: Path, is_allowed: bool
) -> None:
    root = tmp_path / "models"
    put_version(root, 1)
    settings = config(Path(), repository=root, model_control=is_allowed)
    server, addresses = await serve_until_ready(settings)
    async with grpc.aio.insecure_channel(addresses.grpc_target) as channel:

        async def control(method: str, request: Any) -> str:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/inference.GRPCInferenceService/{method}"
            )
            return (await call(request.SerializeToString()).code()).name

        health = health_pb2_grpc.HealthStub(channel)
        unload = messages.RepositoryModelUnloadRequest(model_name="tiny")
        load = messages.RepositoryModelLoadRequest(model_name="tiny")
        expected = "OK" if is_allowed else "PERMISSION_DENIED"
        assert await control("RepositoryModelUnload", unload) == expected
        after = await status_of(health, "tiny")
        assert after == (NOT_SERVING if is_allowed else SERVING)
        assert await control("RepositoryModelLoad", load) == expected
        assert await status_of(health, "tiny") == SERVING
    os.kill(os.getpid(), signal.SIGTERM)
    await server


def test_an_ipv6_target_is_written_in_brackets() -> None:
    addresses = Addresses(host="::1", grpc_port=1, metrics_port=2)
    assert addresses.grpc_target == "[::1]:1"
    assert addresses.metrics_url == "http://[::1]:2/metrics"
