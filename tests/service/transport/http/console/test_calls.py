"""The API over HTTP: the answers, statuses, limits and figures of gRPC."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from diffmask_service.core.values import ExplainOptions, Reply, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InferenceError, OverloadedError
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSecurity,
    GrpcSettings,
)
from diffmask_service.transport.grpc.statuses import STATUS_BY_ERROR
from diffmask_service.transport.http.console.calls import HTTP_STATUS_BY_CODE
from diffmask_service.wire.converters import reply_from_proto
from diffmask_service.wire.pb import explain_pb2
from tests.service.transport.http.console.conftest import Caller, Opening
from tests.support.scripted import Scripted
from tests.support.tiny import tiny_logits

INFERENCE, ADMIN = "inference-token-0123456789", "admin-token-0123456789"
QUESTION = {"inputs": [{"text": "a funny movie"}]}
BOTH = {"gates": ["GATE_KIND_INPUT", "GATE_KIND_HIDDEN"], "verify": {}}


@pytest.fixture
async def caller(engine: Engine, opening: Opening) -> AsyncIterator[Caller]:
    async with opening(Repository([engine])) as opened:
        yield opened


def guarded(directory: Path) -> GrpcSettings:
    for name, token in (("inference", INFERENCE), ("admin", ADMIN)):
        (directory / name).write_text(token)
    security = GrpcSecurity(
        inference_tokens=directory / "inference", admin_tokens=directory / "admin"
    )
    return GrpcSettings(
        host="127.0.0.1",
        port=0,
        max_message_bytes=4096,
        has_reflection=False,
        security=security,
    )


def handled(telemetry: Telemetry, code: str) -> float | None:
    labels = {
        "grpc_type": "unary",
        "grpc_service": SERVICE.full_name,
        "grpc_method": "Explain",
        "grpc_code": code,
    }
    return telemetry.registry.get_sample_value("grpc_server_handled_total", labels)


async def test_an_answer_is_the_engine_s(caller: Caller, engine: Engine) -> None:
    heard = await caller.call("Explain", QUESTION | {"options": BOTH})
    assert heard.status == 200
    got = reply_from_proto(ParseDict(heard.content, explain_pb2.ExplainResponse()))
    options = ExplainOptions(verify=True)
    want = await engine.explain([TextInput(text="a funny movie")], options)
    assert got.states == want.states
    (mine,), (theirs,) = got.explanations, want.explanations
    assert mine.input_gates is not None
    assert mine.hidden_gates is not None
    assert (mine.input_gates == theirs.input_gates).all()
    assert (mine.hidden_gates == theirs.hidden_gates).all()
    assert mine.verifications[0].kept_share == pytest.approx(1 / 6)


async def test_masked_tokens_are_out_of_the_model_s_sight(caller: Caller) -> None:
    asked = {"inputs": [{"text": "a good movie", "masked_tokens": [0, 2]}]}
    heard = await caller.call("Explain", asked)
    tokens = ("[CLS]", "a", "good", "movie", "[SEP]")
    kept = [False, True, False, True, True]
    logits = heard.content["explanations"][0]["prediction"]["logits"]
    assert logits == tiny_logits(tokens, kept=kept).tolist()


async def test_models_are_described(caller: Caller) -> None:
    (model,) = (await caller.call("ListModels", {})).content["models"]
    assert (await caller.call("GetModel", {"model": "tiny"})).content == model
    assert model["identity"]["id"] == "tiny"
    assert model["takes_pairs"] is False


@pytest.mark.parametrize(
    ("message", "status", "code", "words"),
    [
        ({}, 400, "INVALID_ARGUMENT", "inputs: is empty"),
        ({"inputs": [{"text": " "}]}, 400, "INVALID_ARGUMENT", "inputs[0].text is"),
        (
            {"inputs": [{"text": "a " * 50}]},
            400,
            "INVALID_ARGUMENT",
            "inputs[0] has 52 tokens, special tokens counted; the model takes 12.",
        ),
        (QUESTION | {"model": "huge"}, 404, "NOT_FOUND", "huge"),
        (QUESTION | {"wrong": 1}, 400, "INVALID_ARGUMENT", "no ExplainRequest as JSON"),
        (b"{", 400, "INVALID_ARGUMENT", "no ExplainRequest as JSON"),
        (b"\xff", 400, "INVALID_ARGUMENT", "no ExplainRequest as JSON"),
        (b"[" * 4000, 400, "INVALID_ARGUMENT", "no ExplainRequest as JSON"),
        (b" " * 5000, 429, "RESOURCE_EXHAUSTED", "too large"),
    ],
)
async def test_bad_requests_get_their_status(
    caller: Caller,
    telemetry: Telemetry,
    message: object,
    status: int,
    code: str,
    words: str,
) -> None:
    heard = await caller.call("Explain", message)
    assert (heard.status, heard.content["code"]) == (status, code)
    assert words in heard.content["message"]
    assert handled(telemetry, code) == 1


async def test_a_refusal_says_when_to_try_again(opening: Opening) -> None:
    async def refuse() -> Reply:
        raise OverloadedError("the queue is full", retry_after_seconds=0.25)

    async with opening(Scripted(answer=refuse)) as caller:
        heard = await caller.call("Explain", QUESTION)
    assert heard.status == 429
    assert heard.content["retry_after_seconds"] == 0.25


async def test_what_goes_wrong_inside_stays_inside(opening: Opening) -> None:
    async def fail() -> Reply:
        raise InferenceError("a secret")

    async with opening(Scripted(answer=fail)) as caller:
        heard = await caller.call("Explain", QUESTION)
    assert heard.status == 500
    assert "secret" not in heard.content["message"]
    assert "request id" in heard.content["message"]


def test_every_status_has_one_of_http() -> None:
    assert set(STATUS_BY_ERROR.values()) <= set(HTTP_STATUS_BY_CODE)


async def test_work_ends_when_the_browser_leaves(
    opening: Opening, telemetry: Telemetry
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> Reply:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with opening(Scripted(answer=wait)) as caller:
        with socket.create_connection(("127.0.0.1", caller.port)) as browser:
            body = b'{"inputs": [{"text": "a"}]}'
            browser.sendall(
                f"POST /{SERVICE.full_name}/Explain HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            await begun.wait()
        await ended.wait()
    assert handled(telemetry, "CANCELLED") == 1


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("", 401),
        ("Bearer wrong-token-0123456", 401),
        (f"Bearer {INFERENCE}", 200),
        (f"Bearer {ADMIN}", 403),
    ],
)
async def test_calls_ask_for_the_token_that_grpc_asks_for(
    engine: Engine, opening: Opening, tmp_path: Path, token: str, status: int
) -> None:
    async with opening(Repository([engine]), calls=guarded(tmp_path)) as caller:
        heard = await caller.call("Explain", QUESTION, authorization=token)
        assert heard.status == status
        assert (await caller.get("/console/")).status == 200
        assert (await caller.get("/metrics")).status == 200
    assert ("www-authenticate" in heard.headers) == (status == 401)


async def test_only_json_is_taken(caller: Caller) -> None:
    heard = await caller.call("Explain", QUESTION, content_type="text/plain")
    assert heard.status == 400
    assert "application/json" in heard.content["message"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8082", 200),
        ("[::1]:8082", 200),
        ("stranger.example:8082", 403),
        ("[::1", 403),
    ],
)
async def test_a_server_of_this_machine_goes_by_its_names(
    caller: Caller, host: str, status: int
) -> None:
    assert (await caller.call("ListModels", {}, host=host)).status == status
    assert (await caller.get("/metrics", host=host)).status == status


async def test_a_server_for_others_goes_by_any_name(
    engine: Engine, opening: Opening
) -> None:
    async with opening(Repository([engine]), host="0.0.0.0") as caller:
        heard = await caller.call("ListModels", {}, host="models.example")
        shown = await caller.get("/metrics", host="models.example")
    assert heard.status == shown.status == 200


async def test_a_stream_has_no_form_as_one_message(caller: Caller) -> None:
    assert (await caller.call("ExplainStream", {})).status == 404
