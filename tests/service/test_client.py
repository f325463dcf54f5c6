import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from diffmask_service.client import AsyncClient, Client
from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    GateKind,
    Granularity,
    TextInput,
)
from diffmask_service.errors import (
    DeadlineError,
    DiffMaskError,
    InvalidInput,
    NotFound,
    NotReadyError,
    OverloadedError,
    PermissionDenied,
    ServerError,
    Unauthenticated,
)
from diffmask_service.wire.converters import (
    ExplainCall,
)
from tests.support.replies import is_same, reply
from tests.support.stub_server import DESCRIPTION, Stub, serving


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


@pytest.fixture
def client(stub: Stub) -> Iterator[Client]:
    with Client(stub.target, timeout_seconds=10.0, retries=False) as client:
        yield client


@pytest.fixture
async def async_client(stub: Stub) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(stub.target, timeout_seconds=10.0, retries=False) as client:
        yield client


def test_reply_arrives_as_it_left(client: Client) -> None:
    assert is_same(client.explain("a"), reply())


async def test_async_reply_arrives_as_it_left(async_client: AsyncClient) -> None:
    assert is_same(await async_client.explain(["a", "b"]), reply())


def test_keywords_become_options(stub: Stub, client: Client) -> None:
    client.explain(
        ["a", TextInput(text="b", text_pair="c")],
        gates=["input"],
        states=["block_2", "block_1"],
        granularity="words",
        top_k=3,
        truncate=True,
        verify_states=["block_1"],
        explain_when=ExplainWhen(probability_below=0.8),
        model="m",
        version="2",
    )
    assert stub.calls == [
        ExplainCall(
            model="m",
            version="2",
            inputs=(TextInput(text="a"), TextInput(text="b", text_pair="c")),
            options=ExplainOptions(
                gates=frozenset({GateKind.INPUT}),
                states=("block_2", "block_1"),
                granularity=Granularity.WORDS,
                top_k=3,
                truncate=True,
                verify=True,
                verify_states=("block_1",),
                explain_when=ExplainWhen(probability_below=0.8),
            ),
        )
    ]


def test_defaults_ask_for_both_gates_of_the_only_model(
    stub: Stub, client: Client
) -> None:
    client.explain("a")
    assert stub.calls == [
        ExplainCall(
            model="",
            version="",
            inputs=(TextInput(text="a"),),
            options=ExplainOptions(),
        )
    ]


def test_one_text_gives_one_explanation(client: Client) -> None:
    assert is_same(client.explain_one("a"), reply().explanations[0])


async def test_one_text_gives_one_explanation_async(
    async_client: AsyncClient,
) -> None:
    assert is_same(await async_client.explain_one("a"), reply().explanations[0])


def test_models_are_described(client: Client) -> None:
    assert client.get_model() == DESCRIPTION
    assert client.list_models() == (DESCRIPTION,)


async def test_models_are_described_async(async_client: AsyncClient) -> None:
    assert await async_client.get_model() == DESCRIPTION
    assert await async_client.list_models() == (DESCRIPTION,)


@pytest.mark.parametrize(
    ("health", "is_serving"),
    [
        (health_pb2.HealthCheckResponse.SERVING, True),
        (health_pb2.HealthCheckResponse.NOT_SERVING, False),
    ],
)
async def test_health_is_whether_requests_are_taken(
    stub: Stub, async_client: AsyncClient, health: int, is_serving: bool
) -> None:
    stub.health.set("", health)
    assert await async_client.check_health() is is_serving


FAILURES = [
    (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput, "the reason"),
    (grpc.StatusCode.NOT_FOUND, NotFound, "the reason"),
    (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError, "did not answer in time"),
    (grpc.StatusCode.UNAVAILABLE, NotReadyError, "is not ready: the reason"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerError, "failed: the reason"),
    (grpc.StatusCode.INTERNAL, ServerError, "failed: the reason"),
    (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated, "the reason"),
    (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied, "the reason"),
]


@pytest.mark.parametrize(("status", "error", "message"), FAILURES)
def test_status_becomes_error(
    stub: Stub,
    client: Client,
    status: grpc.StatusCode,
    error: type[DiffMaskError],
    message: str,
) -> None:
    stub.status = status
    with pytest.raises(error, match=message):
        client.explain("a")


@pytest.mark.parametrize(("status", "error", "message"), FAILURES)
async def test_status_becomes_error_async(
    stub: Stub,
    async_client: AsyncClient,
    status: grpc.StatusCode,
    error: type[DiffMaskError],
    message: str,
) -> None:
    stub.status = status
    with pytest.raises(error, match=message):
        await async_client.get_model()


def test_other_failure_carries_its_status(stub: Stub, client: Client) -> None:
    stub.status = grpc.StatusCode.INTERNAL
    with pytest.raises(ServerError) as caught:
        client.list_models()
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize(("pushback", "seconds"), [("250", 0.25), ("-1", 0), ("?", 0)])
def test_overload_carries_the_servers_hint(
    stub: Stub, client: Client, pushback: str, seconds: float
) -> None:
    stub.status = grpc.StatusCode.RESOURCE_EXHAUSTED
    stub.trailer = (("grpc-retry-pushback-ms", pushback),)
    with pytest.raises(OverloadedError) as caught:
        client.explain("a")
    assert caught.value.retry_after_seconds == seconds


def test_lateness_carries_the_servers_hint(stub: Stub, client: Client) -> None:
    stub.status = grpc.StatusCode.DEADLINE_EXCEEDED
    stub.trailer = (("grpc-retry-pushback-ms", "250"),)
    with pytest.raises(DeadlineError) as caught:
        client.explain("a")
    assert caught.value.retry_after_seconds == 0.25


def test_nobody_listening_is_not_ready() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(NotReadyError, match=r":1 is"):
        client.check_health()


def test_time_runs_out_on_a_silent_server(stub: Stub, client: Client) -> None:
    is_done = threading.Event()
    stub.wait = is_done.wait
    try:
        with pytest.raises(DeadlineError):
            client.explain("a", timeout_seconds=0.05)
    finally:
        is_done.set()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"gates": ["inputs"]}, "'inputs' is not a valid GateKind"),
        ({"granularity": "letters"}, "'letters' is not a valid Granularity"),
        ({"top_k": 0}, "top_k"),
        ({"timeout_seconds": 0}, "timeout_seconds is 0"),
    ],
)
def test_wrong_keyword_is_refused_before_it_is_sent(
    stub: Stub, client: Client, keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        client.explain("a", **keywords)
    assert not stub.calls


def test_credentials_secure_the_channel(stub: Stub) -> None:
    # The stub speaks plain text: a failed handshake proves that one was tried.
    credentials = grpc.ssl_channel_credentials()
    with (
        Client(stub.target, credentials=credentials) as client,
        pytest.raises(NotReadyError, match=r"(?i)ssl"),
    ):
        client.check_health()


async def test_credentials_secure_the_channel_async(stub: Stub) -> None:
    credentials = grpc.ssl_channel_credentials()
    async with AsyncClient(stub.target, credentials=credentials) as client:
        with pytest.raises(NotReadyError, match=r"(?i)ssl"):
            await client.check_health()
