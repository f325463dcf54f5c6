"""Who answers an audit: a bundle in this process, or a server; both in order.

A text that is refused, or on which the graph fails, gets its error in its place. All
else (a server that is gone, full or another one than at the start) ends the audit, as
trying again may give an answer.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol, TypeAlias

from diffmask_service.client import AsyncClient
from diffmask_service.core.values import (
    ExplainOptions,
    Explanation,
    ModelDescription,
    ModelIdentity,
    Reply,
    TextInput,
)
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.errors import (
    InferenceError,
    InvalidInput,
    RequestError,
    ServerError,
)

Failure: TypeAlias = RequestError | InferenceError
Answer: TypeAlias = Explanation | Failure

# Texts in progress for each worker: enough of them to find some of equal length, which
# share a run.
_TEXTS_PER_WORKER = 64
_DEADLINE_SECONDS = 3600.0


class Answering(Protocol):
    """Explains texts."""

    @property
    def model(self) -> ModelDescription:
        """The model that answers all of them."""
        ...

    def explain(self, texts: Sequence[TextInput]) -> AsyncGenerator[Answer]:
        """Yield an answer for each text, in order."""
        ...


def audit_limits(workers: int) -> EngineLimits:
    """Return limits of an engine that nobody else asks.

    Args:
        workers: Runs of the graph at the same time, >= 1.
    """
    return EngineLimits(
        max_texts=1,
        max_text_bytes=2**20,
        # The audit itself bounds what is in progress.
        queue_tokens=2**40,
        max_deadline_seconds=_DEADLINE_SECONDS,
        late_factor=0.0,
        workers=workers,
    )


class BundleAnswers:
    """Answers of an engine in this process.

    Args:
        engine: Opened with `audit_limits`.
        truncate: Cut a text over the token limit instead of refusing it.
    """

    def __init__(self, engine: Engine, *, truncate: bool) -> None:
        self._engine = engine
        self._options = ExplainOptions(truncate=truncate, verify=True)
        self._num_texts = _TEXTS_PER_WORKER * engine.num_workers

    @property
    def model(self) -> ModelDescription:
        """The bundle's model."""
        return self._engine.description

    async def explain(self, texts: Sequence[TextInput]) -> AsyncGenerator[Answer]:
        """Yield an answer for each text, in order."""
        waiting: deque[asyncio.Task[Answer]] = deque()
        try:
            for text in texts:
                waiting.append(asyncio.create_task(self._answer(text)))
                if len(waiting) >= self._num_texts:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _answer(self, text: TextInput) -> Answer:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        try:
            reply = await self._engine.explain([text], self._options, deadline=deadline)
        except (RequestError, InferenceError) as error:
            return error
        return reply.explanations[0]


class ServerAnswers:
    """Answers of a server, over one stream for each call of `explain`.

    Args:
        client: Asks it.
        model: As the server described it at the start; every reply must be its.
        name: What the server knows it by; empty for its only one.
        truncate: Cut a text over the token limit instead of refusing it.
    """

    def __init__(
        self,
        client: AsyncClient,
        model: ModelDescription,
        *,
        name: str = "",
        truncate: bool,
    ) -> None:
        self._client = client
        self._model = model
        self._name = name
        self._truncate = truncate

    @property
    def model(self) -> ModelDescription:
        """The server's model."""
        return self._model

    async def explain(self, texts: Sequence[TextInput]) -> AsyncGenerator[Answer]:
        """Yield an answer for each text, in order.

        Raises:
            DiffMaskError: The server is gone, full, failed, or serves another model.
        """
        identity = self._model.identity
        replies = self._client.explain_stream(
            texts,
            truncate=self._truncate,
            verify=True,
            model=self._name,
            version=identity.version,
        )
        async with aclosing(replies):  # type: ignore[type-var]
            async for reply in replies:
                if isinstance(reply, RequestError):
                    yield reply
                elif isinstance(reply, Reply):
                    check_identity(reply.model, identity)
                    yield reply.explanations[0]
                elif isinstance(reply, ServerError) and reply.code == "INTERNAL":
                    yield InferenceError("the server failed on this text")
                else:
                    raise reply


def check_identity(found: ModelIdentity, expected: ModelIdentity) -> None:
    """Refuse the answer of a model that is not the one of the audit.

    Args:
        found: Which model answered.
        expected: Which the server described at the start.

    Raises:
        InvalidInput: They differ, were it by their digest alone.
    """
    if found != expected:
        raise InvalidInput(
            f"the server now answers with {found.id} {found.version}"
            f" ({found.precision}, digest {found.digest[:12]}), and began with"
            f" {expected.id} {expected.version} ({expected.precision}, digest"
            f" {expected.digest[:12]}); audit each model into a folder of its own"
        )
