"""Our clients try again by themselves, as the server's hint and the policy say."""

import json
import time
from pathlib import Path

import grpc
import pytest

from diffmask_service.client import AsyncClient, Client
from diffmask_service.client.retries import RETRY_POLICY
from diffmask_service.core.values import Reply
from diffmask_service.errors import (
    InvalidInput,
    NotReadyError,
    OverloadedError,
    ServerError,
)
from tests.support.replies import is_same, reply
from tests.support.scripted import Scripted
from tests.support.scripted import serving as serving_scripted
from tests.support.stub_server import Stub, serving

ROOT = Path(__file__).parents[2]
HINT_SECONDS = 0.3


def test_the_published_policy_is_the_clients() -> None:
    published = (ROOT / "docs" / "retry-policy.json").read_text(encoding="utf-8")
    assert json.loads(published) == RETRY_POLICY


def overloaded(scripted: Scripted, *, times: int) -> None:
    async def answer() -> Reply:
        if scripted.num_calls <= times:
            raise OverloadedError("full", retry_after_seconds=HINT_SECONDS)
        return reply()

    scripted.answer = answer


async def test_a_full_server_is_asked_again_when_it_said() -> None:
    async with (
        serving_scripted(Scripted()) as server,
        AsyncClient(server.target) as client,
    ):
        overloaded(server, times=2)
        began = time.monotonic()
        assert (await client.explain("a")).model == reply().model
        # The policy alone would wait at most 0.1 and 0.2 s; no test is ever too slow
        # for a lower bound.
        assert time.monotonic() - began > 2 * 0.9 * HINT_SECONDS
        assert server.num_calls == 3


async def test_retries_can_be_switched_off() -> None:
    async with (
        serving_scripted(Scripted()) as server,
        AsyncClient(server.target, retries=False) as client,
    ):
        overloaded(server, times=1)
        with pytest.raises(OverloadedError) as raised:
            await client.explain("a")
        assert raised.value.retry_after_seconds == HINT_SECONDS
        assert server.num_calls == 1


async def test_a_server_that_stays_full_is_given_up() -> None:
    async with (
        serving_scripted(Scripted()) as server,
        AsyncClient(server.target) as client,
    ):
        overloaded(server, times=100)
        with pytest.raises(OverloadedError):
            await client.explain("a")
        assert server.num_calls == 4


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
def test_the_blocking_client_tries_again_as_well(status: grpc.StatusCode) -> None:
    with (
        serving(Stub(status=status, failures=2)) as stub,
        Client(stub.target) as client,
    ):
        assert is_same(client.explain("a"), reply())
    assert len(stub.calls) == 3
    # gRPC's own count of attempts, not ours.
    assert stub.metadata[2]["grpc-previous-rpc-attempts"] == "2"


def test_what_trying_again_cannot_cure_is_not_tried_again() -> None:
    stub = Stub(status=grpc.StatusCode.INTERNAL, failures=1)
    with (
        serving(stub),
        Client(stub.target) as client,
        pytest.raises(ServerError, match="the reason"),
    ):
        client.explain("a")
    assert len(stub.calls) == 1


def test_a_stream_that_finds_the_server_stopping_is_opened_again() -> None:
    stub = Stub(status=grpc.StatusCode.UNAVAILABLE, failures=1)
    with serving(stub), Client(stub.target) as client:
        (answer,) = client.explain_stream(["a"])
    assert isinstance(answer, Reply)


def test_a_token_goes_with_every_call() -> None:
    with serving(Stub()) as stub, Client(stub.target, token="t" * 16) as client:
        client.explain("a")
        list(client.explain_stream(["a"]))
        client.list_models()
    sent = [each.get("authorization") for each in stub.metadata]
    assert sent == [f"Bearer {'t' * 16}"] * 3


def test_a_token_does_not_leave_the_machine_in_plain_text() -> None:
    with pytest.raises(InvalidInput, match="in plain text"):
        Client("example.org:443", token="t" * 16)
    Client("example.org:443", token="t" * 16, insecure=True).close()
    credentials = grpc.ssl_channel_credentials()
    Client("example.org:443", token="t" * 16, credentials=credentials).close()


def test_nobody_listening_is_given_up() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(NotReadyError):
        client.explain("a", timeout_seconds=5)
