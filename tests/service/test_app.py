import asyncio
import os
import signal
import socket
from pathlib import Path

import grpc
import pytest

from diffmask_service.app import Addresses, serve
from diffmask_service.config import ServiceConfig
from diffmask_service.errors import BundleError, StartError
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc


def config(bundle: Path, **settings: object) -> ServiceConfig:
    ports = {"grpc_port": 0, "metrics_port": 0, "health_port": 0, "drain_seconds": 0.0}
    return ServiceConfig(bundle=bundle, **(ports | settings))  # type: ignore[arg-type]


async def serve_until_ready(
    settings: ServiceConfig,
) -> tuple[asyncio.Task[None], Addresses]:
    ready: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(settings, on_ready=ready.set_result))
    return server, await ready


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


def test_an_ipv6_target_is_written_in_brackets() -> None:
    addresses = Addresses(host="::1", grpc_port=1, metrics_port=2)
    assert addresses.grpc_target == "[::1]:1"
    assert addresses.metrics_url == "http://[::1]:2/metrics"
