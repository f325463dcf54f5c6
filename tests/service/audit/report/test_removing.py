"""What becomes of changed texts that the model does not answer."""

from dataclasses import replace
from typing import Any, cast

import pytest

from diffmask_service.audit.report import BundleRemoving, Removing, ServerRemoving
from diffmask_service.client import AsyncClient
from diffmask_service.core.values import (
    ExplainOptions,
    ModelIdentity,
    Reply,
    TextInput,
)
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    DiffMaskError,
    InferenceError,
    InvalidInput,
    NotReadyError,
    ServerError,
)
from tests.support.explained import explained

IDENTITY = ModelIdentity(id="tiny", version="3", digest="0" * 64, precision="fp32")


class _Failing:
    """Answers as an engine or a client would that always fails the same way."""

    def __init__(self, error: DiffMaskError) -> None:
        self._error = error

    async def explain(self, *_: Any, **__: Any) -> None:
        raise self._error

    predict_kept = explain


def _engine(error: DiffMaskError) -> Removing:
    return BundleRemoving(cast(Engine, _Failing(error)))


def _server(error: DiffMaskError) -> Removing:
    return ServerRemoving(cast(AsyncClient, _Failing(error)), IDENTITY)


@pytest.mark.parametrize(
    "removing",
    [
        _engine(InvalidInput("empty")),
        _engine(InferenceError("not finite")),
        _server(InvalidInput("empty")),
        _server(ServerError("not finite", code="INTERNAL")),
    ],
)
async def test_a_text_that_is_refused_or_fails_is_passed_over(
    removing: Removing,
) -> None:
    assert await removing.predict(TextInput(text="so bad")) is None
    assert await removing.without(explained("so bad", [1, 1]), [1]) is None


@pytest.mark.parametrize(
    "removing",
    [
        _engine(NotReadyError("gone")),
        _server(NotReadyError("gone")),
        _server(ServerError("gone", code="UNKNOWN")),
    ],
)
async def test_a_model_that_is_gone_ends_the_test(removing: Removing) -> None:
    with pytest.raises(DiffMaskError, match="gone"):
        await removing.predict(TextInput(text="so bad"))


async def test_a_server_that_answers_with_another_bundle_ends_the_test(
    engine: Engine,
) -> None:
    # An engine answers what a client is told.
    class Client:
        async def explain(self, text: TextInput, **_: object) -> Reply:
            return await engine.explain([text], ExplainOptions(gates=frozenset()))

    client, identity = cast(AsyncClient, Client()), engine.description.identity
    text = TextInput(text="a funny movie")
    assert await ServerRemoving(client, identity).predict(text) is not None
    other = ServerRemoving(client, replace(identity, digest="1" * 64))
    with pytest.raises(InvalidInput, match="digest 111111111111"):
        await other.predict(text)
