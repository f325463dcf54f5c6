"""What the model says of a text without some of its tokens, or with a word more.

A bundle in this process masks tokens through the graph's own `keep` input, as
verifications do. A server has no such call: the characters are cut out of the text.
"""

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from diffmask_service.audit.answering import check_identity
from diffmask_service.audit.report.reading import Explained
from diffmask_service.client import AsyncClient
from diffmask_service.core.predictions import LabelPrediction, Prediction
from diffmask_service.core.values import ExplainOptions, ModelIdentity, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InferenceError, RequestError, ServerError

_DEADLINE_SECONDS = 3600.0


class Removing(Protocol):
    """Asks a model about changed texts; None for one that it refuses or fails on."""

    @property
    def way(self) -> str:
        """How tokens are taken away, in words."""
        ...

    async def without(
        self, text: Explained, positions: Sequence[int]
    ) -> LabelPrediction | None:
        """Predict a text without the tokens at some positions."""
        ...

    async def predict(self, text: TextInput) -> LabelPrediction | None:
        """Predict a text as it is, cut where it is too long."""
        ...


class BundleRemoving:
    """Asks an engine in this process.

    Args:
        engine: Opened with `audit_limits`.
    """

    way = "masked by the baseline that verifications use"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def without(
        self, text: Explained, positions: Sequence[int]
    ) -> LabelPrediction | None:
        """Predict a text without the tokens at some positions."""
        keep = np.ones(len(text.scores), dtype=np.float32)
        keep[list(positions)] = 0
        source = input_of(text)
        if source is None:
            return None
        try:
            return _label(
                await self._engine.predict_kept(
                    source,
                    keep,
                    truncate=True,
                    deadline=time.monotonic() + _DEADLINE_SECONDS,
                )
            )
        except (RequestError, InferenceError):
            return None

    async def predict(self, text: TextInput) -> LabelPrediction | None:
        """Predict a text as it is, cut where it is too long."""
        options = ExplainOptions(gates=frozenset(), truncate=True)
        try:
            reply = await self._engine.explain(
                [text], options, deadline=time.monotonic() + _DEADLINE_SECONDS
            )
        except (RequestError, InferenceError):
            return None
        return _label(reply.explanations[0].prediction)


class ServerRemoving:
    """Asks a server.

    Args:
        client: Asks it.
        identity: The model that the audit is of; every reply must be its.
        name: What the server knows it by; empty for its only one.
    """

    way = "cut out of the text"

    def __init__(
        self, client: AsyncClient, identity: ModelIdentity, *, name: str = ""
    ) -> None:
        self._client = client
        self._identity = identity
        self._name = name

    async def without(
        self, text: Explained, positions: Sequence[int]
    ) -> LabelPrediction | None:
        """Predict a text without the characters of the tokens at some positions."""
        source = input_of(text)
        if source is None:
            return None
        pieces = [source.text, source.text_pair]
        for segment, written in enumerate(pieces):
            if written is None:
                continue
            ranges = {
                (int(text.starts[each]), int(text.ends[each]))
                for each in positions
                if text.segments[each] == segment
            }
            for start, end in sorted(ranges, reverse=True):
                written = written[:start] + written[end:]  # noqa: PLW2901
            pieces[segment] = written
        return await self.predict(TextInput(text=pieces[0] or "", text_pair=pieces[1]))

    async def predict(self, text: TextInput) -> LabelPrediction | None:
        """Predict a text as it is, cut where it is too long.

        Raises:
            InvalidInput: Another model answers by now.
        """
        if not text.text.strip():
            return None
        try:
            reply = await self._client.explain(
                text,
                gates=(),
                truncate=True,
                model=self._name,
                version=self._identity.version,
            )
        except RequestError:
            return None
        except ServerError as error:
            if error.code == "INTERNAL":
                return None
            raise
        # A bundle may have been replaced by another of the same version.
        check_identity(reply.model, self._identity)
        return _label(reply.explanations[0].prediction)


def input_of(text: Explained) -> TextInput | None:
    """Return what was explained; None where it was hashed."""
    if text.text is None:
        return None
    return TextInput(text=text.text, text_pair=text.text_pair)


def _label(prediction: Prediction) -> LabelPrediction | None:
    return prediction if isinstance(prediction, LabelPrediction) else None
