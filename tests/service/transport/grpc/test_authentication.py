"""Every method that a server has, with every kind of token, over a real socket."""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from diffmask_service.engine import Engine
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.access import ADMIN_METHODS
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSecurity,
    GrpcSettings,
    bind,
    build_server,
)
from tests.support.waiting import wait_until

INFERENCE, ADMIN = "inference-token-0123456789", "admin-token-0123456789"
EXPLAINER = [f"/{SERVICE.full_name}/{method.name}" for method in SERVICE.methods]
SHARED = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
]
UNKNOWN = ["/diffmask.v1.Explainer/Guess", "/a.B/C"]
NOBODY = "UNAUTHENTICATED"
OTHERS = "PERMISSION_DENIED"
# Who is let in hears that no model has an empty name, or that a method is not offered.
LET_IN = {"NOT_FOUND", "UNIMPLEMENTED"}


def settings(*, inference: Path | None, admin: Path | None) -> GrpcSettings:
    return GrpcSettings(
        host="127.0.0.1",
        port=0,
        max_message_bytes=4096,
        has_reflection=True,
        security=GrpcSecurity(inference_tokens=inference, admin_tokens=admin),
    )


async def serve(
    engine: Engine, telemetry: Telemetry, wanted: GrpcSettings
) -> AsyncIterator[grpc.Channel]:
    health = HealthServicer(())
    repository = Repository([engine])
    server = build_server(
        repository,
        health,
        telemetry=telemetry,
        settings=wanted,
        stopping=asyncio.Event(),
        control=repository,
    )
    port = bind(server, wanted)
    await server.start()
    # Not the asyncio client: when a call is refused while it still writes, that one now
    # and then reports INTERNAL in place of the status that it was sent.
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    health.close()
    await server.stop(None)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {"inference": tmp_path / "inference", "admin": tmp_path / "admin"}
    paths["inference"].write_text(INFERENCE)
    paths["admin"].write_text(ADMIN)
    return paths


@pytest.fixture
async def guarded(
    engine: Engine, telemetry: Telemetry, files: dict[str, Path]
) -> AsyncIterator[grpc.Channel]:
    wanted = settings(inference=files["inference"], admin=files["admin"])
    async for channel in serve(engine, telemetry, wanted):
        yield channel


async def status(
    channel: grpc.Channel, path: str, token: str | None, raw: bytes = b""
) -> str:
    """Call any method as a stream, which fits all of them on the wire."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def call() -> str:
        method: Any = channel.stream_stream(path)
        replies = method(iter([raw]), metadata=metadata)
        try:
            # The first answer of a watch is enough.
            next(replies)
        except grpc.RpcError:
            pass
        except StopIteration:
            pass
        else:
            return "OK"
        finally:
            replies.cancel()
        return str(replies.code().name)

    return await asyncio.to_thread(call)


@pytest.mark.parametrize(
    "path", [*EXPLAINER, *SHARED, *UNKNOWN, *sorted(ADMIN_METHODS)]
)
@pytest.mark.parametrize(
    "token", [None, "", "wrong-token-0123456789", INFERENCE[:-1], f"{ADMIN}x"]
)
async def test_no_method_answers_a_stranger(
    guarded: grpc.Channel, path: str, token: str | None
) -> None:
    assert await status(guarded, path, token) == NOBODY


@pytest.mark.parametrize("path", [*EXPLAINER, *SHARED])
async def test_a_stranger_is_refused_before_its_message_is_read(
    guarded: grpc.Channel, path: str
) -> None:
    assert await status(guarded, path, None, raw=b"no message \xff") == NOBODY


@pytest.mark.parametrize("path", [*EXPLAINER, *SHARED])
async def test_an_inference_token_opens_everything_but_control(
    guarded: grpc.Channel, path: str
) -> None:
    assert await status(guarded, path, INFERENCE) in ("OK", "INVALID_ARGUMENT")


@pytest.mark.parametrize("path", sorted(ADMIN_METHODS))
async def test_control_asks_for_an_admin_token(
    guarded: grpc.Channel, path: str
) -> None:
    assert await status(guarded, path, INFERENCE) == OTHERS
    assert await status(guarded, path, ADMIN) in LET_IN


async def test_an_admin_token_is_for_control_and_health(
    guarded: grpc.Channel,
) -> None:
    assert await status(guarded, EXPLAINER[0], ADMIN) == OTHERS
    assert await status(guarded, SHARED[0], ADMIN) == "OK"


async def test_a_token_is_replaced_without_a_restart(
    guarded: grpc.Channel, files: dict[str, Path]
) -> None:
    successor = "successor-token-0123456789"
    path = f"/{SERVICE.full_name}/ListModels"
    files["inference"].write_text(f"{INFERENCE}\n{successor}\n")
    assert await status(guarded, path, INFERENCE) == "OK"
    assert await status(guarded, path, successor) == "OK"
    files["inference"].write_text(f"{successor}\n")
    assert await status(guarded, path, INFERENCE) == NOBODY
    assert await status(guarded, path, successor) == "OK"


async def test_a_refusal_is_counted_with_its_status(
    guarded: grpc.Channel, telemetry: Telemetry
) -> None:
    await status(guarded, f"/{SERVICE.full_name}/ExplainStream", None)
    labels = {
        "grpc_type": "bidi_stream",
        "grpc_service": SERVICE.full_name,
        "grpc_method": "ExplainStream",
        "grpc_code": NOBODY,
    }
    count = functools.partial(
        telemetry.registry.get_sample_value, "grpc_server_handled_total", labels
    )
    # The caller may hear of it a moment before the server has counted.
    await asyncio.to_thread(wait_until, lambda: count() == 1, "the refusal's count")


async def test_a_stranger_makes_no_series_and_no_line_of_a_name_of_its_own(
    guarded: grpc.Channel, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made_up = ("/diffmask.v1.Explainer/Guess", "/diffmask.v1.Explainer/a/b", "/oneword")
    for path in made_up:
        assert await status(guarded, path, None) == NOBODY
    # The last in line, so that those before it have been counted.
    assert await status(guarded, EXPLAINER[0], INFERENCE) == "INVALID_ARGUMENT"
    names = {
        sample.labels.get("grpc_method")
        for family in telemetry.registry.collect()
        for sample in family.samples
    }
    assert not names & {"Guess", "a/b"}
    lines = [record.getMessage() for record in caplog.records]
    assert not [line for line in lines if "Guess" in line or "a/b" in line]


async def test_control_is_closed_without_admin_tokens(
    engine: Engine, telemetry: Telemetry, files: dict[str, Path]
) -> None:
    wanted = settings(inference=files["inference"], admin=None)
    async for channel in serve(engine, telemetry, wanted):
        for path in ADMIN_METHODS:
            assert await status(channel, path, INFERENCE) == OTHERS


async def test_admin_tokens_alone_guard_control_alone(
    engine: Engine, telemetry: Telemetry, files: dict[str, Path]
) -> None:
    wanted = settings(inference=None, admin=files["admin"])
    async for channel in serve(engine, telemetry, wanted):
        assert await status(channel, f"/{SERVICE.full_name}/ListModels", None) == "OK"
        for path in ADMIN_METHODS:
            assert await status(channel, path, None) == NOBODY
            assert await status(channel, path, ADMIN) in LET_IN
