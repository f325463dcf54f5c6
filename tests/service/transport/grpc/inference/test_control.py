"""Model control through the protocol, on a real repository."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from diffmask_service.repository import ModelFolder, Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import bind, build_server
from tests.support.inference import SETTINGS
from tests.support.repository import put_bad_version, put_version


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Any]:
    put_version(tmp_path, 3)
    repository = Repository(source=ModelFolder(tmp_path), max_versions=2)
    await repository.start()
    health = HealthServicer({"tiny"})
    health.set_ready(True)
    server = build_server(
        repository,
        health,
        telemetry=Telemetry(),
        settings=SETTINGS,
        stopping=asyncio.Event(),
        control=repository,
    )
    port = bind(server, SETTINGS)
    await server.start()
    async with triton.InferenceServerClient(f"127.0.0.1:{port}") as made:
        yield made
    await server.stop(None)
    await repository.drain(1.0)
    repository.close()


def good() -> Any:
    tensor = triton.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"good"], dtype=object))
    return tensor


async def test_an_unloaded_model_no_longer_answers(client: Any) -> None:
    await client.unload_model("tiny")
    (entry,) = (await client.get_model_repository_index()).models
    assert (entry.name, entry.version, entry.state) == ("tiny", "3", "UNAVAILABLE")
    assert not await client.is_model_ready("tiny")
    assert not await client.is_server_ready()
    with pytest.raises(InferenceServerException):
        await client.infer("tiny", [good()])


async def test_a_new_version_answers_once_it_is_loaded(
    client: Any, tmp_path: Path
) -> None:
    put_version(tmp_path, 4)
    await client.load_model("tiny")
    assert (await client.get_model_metadata("tiny")).versions == ["3", "4"]
    result = await client.infer("tiny", [good()])
    older = await client.infer("tiny", [good()], model_version="3")
    assert result.get_response().model_version == "4"
    assert older.get_response().model_version == "3"
    counted = (await client.get_inference_statistics("tiny")).model_stats
    assert [(each.version, each.inference_count) for each in counted] == [
        ("3", 1),
        ("4", 1),
    ]


async def test_a_model_that_is_not_there_is_not_found(client: Any) -> None:
    with pytest.raises(InferenceServerException, match="holds no model") as raised:
        await client.load_model("huge")
    assert raised.value.status() == "StatusCode.NOT_FOUND"


async def test_a_bad_bundle_is_told_to_who_asked_for_it(
    client: Any, tmp_path: Path
) -> None:
    put_bad_version(tmp_path, 4)
    with pytest.raises(InferenceServerException) as raised:
        await client.load_model("tiny")
    assert raised.value.status() == "StatusCode.FAILED_PRECONDITION"
    told = str(raised.value.message())
    assert told.startswith("tokenizer.json: its bytes are not the exported ones")
    # The index says the same, and what answered before still does.
    entries = (await client.get_model_repository_index()).models
    assert {each.version: each.reason for each in entries} == {"3": "", "4": told}
    assert await client.is_model_ready("tiny", "3")


async def test_where_the_models_lie_is_not_told(client: Any, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    with pytest.raises(InferenceServerException, match="the server failed") as raised:
        await client.load_model("tiny")
    assert raised.value.status() == "StatusCode.INTERNAL"
    assert str(tmp_path) not in str(raised.value.message())
