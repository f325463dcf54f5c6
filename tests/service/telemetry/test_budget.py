"""How many series there are: bounded by the model, and never by what is sent."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal

import grpc
import numpy as np
import pytest

from diffmask_service.app import open_engine
from diffmask_service.bundle import (
    ReferenceDistribution,
    count_texts,
)
from diffmask_service.core.values import ExplainOptions, ModelIdentity, TextInput
from diffmask_service.engine import Engine
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import (
    SERVICE,
    GrpcSettings,
    bind,
    build_server,
)
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.tiny import LABELS, STATES, tiny_manifest, write_tiny_bundle

MAX_SERIES = 1000
SETTINGS = GrpcSettings(
    host="127.0.0.1", port=0, max_message_bytes=1 << 20, has_reflection=False
)


def reference(num_labels: int, num_states: int) -> ReferenceDistribution:
    means = ((0.5,) * num_states,) * num_labels
    figures = np.full((num_labels, 2, num_states), 0.5)
    return ReferenceDistribution(
        num_texts=(1,) * num_labels,
        mean_gate=means,
        kept_share=means,
        histograms=count_texts(figures, range(num_labels), num_labels=num_labels),
    )


def count_series(telemetry: Telemetry) -> int:
    return sum(len(family.samples) for family in telemetry.registry.collect())


@pytest.mark.parametrize(
    ("num_layers", "num_labels"), [(6, 2), (12, 2), (24, 8), (24, 150)]
)
def test_a_model_stays_within_the_budget(num_layers: int, num_labels: int) -> None:
    telemetry = Telemetry()
    before = count_series(telemetry)
    one = reference(num_labels, num_layers + 2)
    references: Mapping[Literal["input", "hidden"], ReferenceDistribution] = {
        "input": one,
        "hidden": one,
    }
    telemetry.for_model(
        ModelIdentity(id="large", version="1", digest="0" * 64, precision="fp32"),
        states=[f"state_{place}" for place in range(num_layers + 2)],
        threshold=0.5,
        labels=[f"label_{place}" for place in range(num_labels)],
        references=references,
    )
    assert 100 < count_series(telemetry) - before <= MAX_SERIES


@pytest.fixture
def watched(tmp_path: Path, telemetry: Telemetry) -> Engine:
    """An engine whose bundle has everything that makes series."""
    both = reference(len(LABELS), len(STATES))
    references = dict.fromkeys(tiny_manifest().reference, both)
    write_tiny_bundle(tmp_path / "tiny", reference=references)
    return open_engine(tmp_path / "tiny", telemetry=telemetry)


@pytest.fixture
async def channel(
    watched: Engine, telemetry: Telemetry
) -> AsyncIterator[grpc.aio.Channel]:
    health = HealthServicer({SERVICE.full_name, "tiny"})
    server = build_server(
        Repository([watched]),
        health,
        telemetry=telemetry,
        settings=SETTINGS,
        stopping=asyncio.Event(),
    )
    port = bind(server, SETTINGS)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)
    watched.close()


async def call_with_strange_names(
    channel: grpc.aio.Channel, names: list[str]
) -> set[grpc.StatusCode]:
    stub: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
    codes = set()
    for name in names:
        text = explain_pb2.TextInput(text=f"good {name} movie")
        requests = [
            explain_pb2.ExplainRequest(inputs=[text], model=name),
            explain_pb2.ExplainRequest(inputs=[text], version=name),
            explain_pb2.ExplainRequest(
                inputs=[text], options=explain_pb2.ExplainOptions(states=[name])
            ),
            explain_pb2.ExplainRequest(inputs=[text]),
        ]
        for request in requests:
            try:
                await stub.Explain(request, metadata=(("x-request-id", name),))
            except grpc.RpcError as error:
                codes.add(error.code())
        for path in (f"/{name}/Explain", f"/diffmask.v1.Explainer/{name}"):
            try:
                await channel.unary_unary(path)(b"")  # type: ignore[arg-type]
            except grpc.RpcError as error:
                codes.add(error.code())
    return codes


async def test_strange_names_make_no_series(
    channel: grpc.aio.Channel, telemetry: Telemetry
) -> None:
    before = count_series(telemetry)
    names = [secrets.token_hex(6) for _ in range(100)]
    codes = await call_with_strange_names(channel, names)
    assert codes == {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED}
    assert count_series(telemetry) == before


async def test_thousands_of_texts_make_no_series(
    watched: Engine, telemetry: Telemetry
) -> None:
    before = count_series(telemetry)
    for _ in range(60):
        texts = [TextInput(text=f"good {secrets.token_hex(4)}") for _ in range(32)]
        await watched.explain(texts, ExplainOptions())
    assert count_series(telemetry) == before
    watched.close()
