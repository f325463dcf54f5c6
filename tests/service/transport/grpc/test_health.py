from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.transport.grpc.health import HealthServicer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

# A watch never looks at its context.
NO_CONTEXT: Any = None


def about(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


@pytest.fixture
async def health() -> HealthServicer:
    return HealthServicer({"tiny"})


@pytest.fixture
async def stub(health: HealthServicer) -> AsyncIterator[health_pb2_grpc.HealthStub]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)
    await server.stop(None)


async def test_liveness_serves_before_the_model_is_ready(
    stub: health_pb2_grpc.HealthStub,
) -> None:
    assert (await stub.Check(about("liveness"))).status == SERVING
    assert (await stub.Check(about("readiness"))).status == NOT_SERVING


async def test_readiness_is_told_under_every_name(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    health.set_ready(True)
    for name in ("", "readiness", "tiny"):
        assert (await stub.Check(about(name))).status == SERVING


async def test_an_unknown_name_is_not_found_and_no_model_is_named(
    stub: health_pb2_grpc.HealthStub,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(about("huge"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert "'huge'" in str(raised.value.details())
    assert "tiny" not in str(raised.value.details())


async def test_every_watcher_sees_every_change_whoever_leaves(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    leaving, staying = stub.Watch(about("tiny")), stub.Watch(about("tiny"))
    assert (await leaving.read()).status == NOT_SERVING
    assert (await staying.read()).status == NOT_SERVING
    leaving.cancel()
    health.set_ready(True)
    assert (await staying.read()).status == SERVING
    health.set_ready(False)
    assert (await staying.read()).status == NOT_SERVING


async def test_a_model_is_ready_when_it_is_and_the_server_too(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    async def statuses() -> list[int]:
        names = ("many", "many/1", "many/2")
        return [(await stub.Check(about(name))).status for name in names]

    for name, is_ready in (("many", True), ("many/1", True), ("many/2", False)):
        health.set_model_ready(name, is_ready=is_ready)
    assert await statuses() == [NOT_SERVING] * 3
    health.set_ready(True)
    assert await statuses() == [SERVING, SERVING, NOT_SERVING]


async def test_a_watch_hears_of_a_version_that_comes_and_goes(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    health.set_ready(True)
    watch = stub.Watch(about("many/2"))
    assert (await watch.read()).status == UNKNOWN
    health.set_model_ready("many/2", is_ready=True)
    assert (await watch.read()).status == SERVING
    health.forget_model("many/2")
    assert (await watch.read()).status == UNKNOWN


async def test_a_watch_of_an_unknown_name_says_so(
    stub: health_pb2_grpc.HealthStub,
) -> None:
    assert (await stub.Watch(about("huge")).read()).status == UNKNOWN


async def test_closing_ends_every_watch(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    watch = stub.Watch(about("tiny"))
    await watch.read()
    health.close()
    assert await watch.read() is grpc.aio.EOF


async def test_the_last_change_is_sent_before_the_end(health: HealthServicer) -> None:
    health.set_ready(True)
    watch = health.Watch(about("tiny"), NO_CONTEXT)
    seen = [(await anext(watch)).status]
    # Both before the watch asks again, as when a stop follows at once.
    health.set_ready(False)
    health.close()
    seen += [reply.status async for reply in watch]
    assert seen == [SERVING, NOT_SERVING]


async def test_nothing_is_ready_any_more_once_the_server_stops(
    stub: health_pb2_grpc.HealthStub, health: HealthServicer
) -> None:
    health.set_ready(True)
    health.begin_stop()
    # As when a model is loaded, or works again, while the server drains.
    health.set_model_ready("many", is_ready=True)
    health.set_ready(True)
    for name in ("", "readiness", "tiny", "many"):
        assert (await stub.Check(about(name))).status == NOT_SERVING
    assert (await stub.Check(about("liveness"))).status == SERVING
