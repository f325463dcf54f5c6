"""The whole server in this process, over a real socket."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.engine import Engine
from diffmask_service.errors import StartError
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSettings,
    bind,
    build_server,
    join_address,
)
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.tiny import tiny_logits

ON_ANY_PORT = GrpcSettings(
    host="127.0.0.1", port=0, max_message_bytes=4096, has_reflection=False
)


@pytest.fixture
async def channel(
    engine: Engine, telemetry: Telemetry
) -> AsyncIterator[grpc.aio.Channel]:
    health = HealthServicer({"tiny"})
    engine.on_readiness(health.set_ready)
    server = build_server(
        Repository([engine]),
        health,
        telemetry=telemetry,
        settings=ON_ANY_PORT,
        stopping=asyncio.Event(),
    )
    port = bind(server, ON_ANY_PORT)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> explain_pb2_grpc.ExplainerStub:
    made: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
    return made


def request_for(
    text: str, *, model: str = "", version: str = ""
) -> explain_pb2.ExplainRequest:
    inputs = [explain_pb2.TextInput(text=text)]
    return explain_pb2.ExplainRequest(inputs=inputs, model=model, version=version)


async def code_of(call: grpc.aio.UnaryUnaryCall[object, object]) -> grpc.StatusCode:
    return await call.code()


async def test_explain_answers(stub: explain_pb2_grpc.ExplainerStub) -> None:
    reply = await stub.Explain(request_for("a good movie"))
    assert reply.explanations[0].prediction.label == "positive"
    assert reply.model.id == "tiny"


async def test_masked_tokens_are_out_of_the_model_s_sight(
    stub: explain_pb2_grpc.ExplainerStub,
) -> None:
    text = explain_pb2.TextInput(text="a good movie", masked_tokens=[0, 2])
    reply = await stub.Explain(explain_pb2.ExplainRequest(inputs=[text]))
    kept = [False, True, False, True, True]
    tokens = ("[CLS]", "a", "good", "movie", "[SEP]")
    logits = list(reply.explanations[0].prediction.logits)
    assert logits == tiny_logits(tokens, kept=kept).tolist()


async def test_a_deadline_reaches_the_engine(
    stub: explain_pb2_grpc.ExplainerStub,
) -> None:
    reply = await stub.Explain(request_for("good"), timeout=60.0)
    assert reply.explanations[0].num_tokens == 3


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (explain_pb2.ExplainRequest(), "INVALID_ARGUMENT"),
        (request_for(" "), "INVALID_ARGUMENT"),
        (request_for("a " * 50), "INVALID_ARGUMENT"),
        (request_for("a", model="huge"), "NOT_FOUND"),
        (request_for("a", version="9"), "NOT_FOUND"),
        (request_for("a" * 5000), "RESOURCE_EXHAUSTED"),
    ],
)
async def test_bad_requests_get_their_status(
    stub: explain_pb2_grpc.ExplainerStub,
    request_: explain_pb2.ExplainRequest,
    code: str,
) -> None:
    assert (await code_of(stub.Explain(request_))).name == code


async def test_the_model_is_described(stub: explain_pb2_grpc.ExplainerStub) -> None:
    model = await stub.GetModel(explain_pb2.GetModelRequest(model="tiny"))
    models = await stub.ListModels(explain_pb2.ListModelsRequest())
    assert model.identity.id == "tiny"
    assert model.is_ready
    assert list(models.models) == [model]


async def test_an_unknown_model_is_not_found(
    stub: explain_pb2_grpc.ExplainerStub,
) -> None:
    call = stub.GetModel(explain_pb2.GetModelRequest(model="huge"))
    assert await code_of(call) is grpc.StatusCode.NOT_FOUND


async def test_reflection_can_be_switched_off(channel: grpc.aio.Channel) -> None:
    # One request, whole: a stream of them would race against the refusal.
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    call = method(b"")
    assert await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{SERVICE.full_name}/Guess"
    )
    assert await method(b"").code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("path", ["/one", "//", "/a/b/c/d", "/diffmask.v1.Explainer"])
async def test_a_path_of_any_form_is_unimplemented(
    channel: grpc.aio.Channel, path: str
) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    assert await method(b"").code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_malformed_health_check_is_invalid(channel: grpc.aio.Channel) -> None:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    assert await method(b"\x0a\xff").code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_series_exist_at_zero_before_the_first_call(
    channel: grpc.aio.Channel, telemetry: Telemetry
) -> None:
    for method in ("Explain", "GetModel", "ListModels"):
        labels = {
            "grpc_type": "unary",
            "grpc_service": SERVICE.full_name,
            "grpc_method": method,
        }
        started = "grpc_server_started_total"
        assert telemetry.registry.get_sample_value(started, labels) == 0


async def test_a_drained_engine_is_unavailable_and_not_serving(
    stub: explain_pb2_grpc.ExplainerStub, engine: Engine, channel: grpc.aio.Channel
) -> None:
    await engine.drain(0.0)
    assert await code_of(stub.Explain(request_for("a"))) is grpc.StatusCode.UNAVAILABLE
    health = health_pb2_grpc.HealthStub(channel)
    statuses = {
        name: (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
        for name in ("", "tiny", "liveness")
    }
    serving = health_pb2.HealthCheckResponse
    assert statuses == {
        "": serving.NOT_SERVING,
        "tiny": serving.NOT_SERVING,
        "liveness": serving.SERVING,
    }


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert join_address("::1", 8081) == "[::1]:8081"
    assert join_address("localhost", 8081) == "localhost:8081"


async def test_an_address_of_another_machine_is_named() -> None:
    # Of the range that is kept free for examples.
    elsewhere = GrpcSettings(
        host="192.0.2.1", port=1, max_message_bytes=4096, has_reflection=False
    )
    with pytest.raises(StartError, match=r"192\.0\.2\.1:1; free the port"):
        bind(grpc.aio.server(), elsewhere)
