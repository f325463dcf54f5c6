"""The client for event loops."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio

from diffmask_service.client.calls import (
    Call,
    ExplainKeywords,
    Inputs,
    check_health,
    explain,
    get_model,
    list_models,
)
from diffmask_service.client.channel import bearer, channel_options, translate
from diffmask_service.client.streams import PATH, Ending, Exchange, parse_bytes
from diffmask_service.core.values import Explanation, ModelDescription, Reply, TextInput
from diffmask_service.errors import DiffMaskError

_Value = TypeVar("_Value")


class AsyncClient:
    """A client for use inside a running event loop.

    Its methods mean and raise what those of `Client` do.

    Args:
        target: Host and port of the server.
        credentials: What secures the channel; None for plain text.
        timeout_seconds: Time for a call that names none, seconds, > 0.
        token: What the server knows its callers by; None for none.
        retries: Whether a call that finds the server full or absent is tried again,
            up to three times and within its time.
        insecure: Whether the token may leave this machine in plain text.

    Raises:
        InvalidInput: The token would travel in plain text.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_seconds: float = 30.0,
        token: str | None = None,
        retries: bool = True,
        insecure: bool = False,
    ) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._metadata = bearer(
            token,
            target=target,
            is_secure=credentials is not None,
            insecure=insecure,
        )
        options = channel_options(retries=retries)
        self._channel = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )

    async def explain(
        self, inputs: Inputs, **keywords: Unpack[ExplainKeywords]
    ) -> Reply:
        """Predict texts and explain the predictions."""
        return await self._wait(explain(inputs, **keywords))

    async def explain_one(
        self, text: str | TextInput, **keywords: Unpack[ExplainKeywords]
    ) -> Explanation:
        """Predict one text and explain the prediction; otherwise like `explain`."""
        return (await self.explain(text, **keywords)).explanations[0]

    async def explain_stream(
        self,
        batches: AsyncIterable[Inputs] | Iterable[Inputs],
        **keywords: Unpack[ExplainKeywords],
    ) -> AsyncIterator[Reply | DiffMaskError]:
        """Explain one batch after the other; see `Client.explain_stream`."""
        timeout = keywords.get("timeout_seconds")
        exchange = Exchange(
            target=self._target,
            keywords=keywords,
            timeout_seconds=self._timeout_seconds if timeout is None else timeout,
        )
        method: grpc.aio.StreamStreamMultiCallable[bytes, Any] = (
            self._channel.stream_stream(PATH, None, parse_bytes)
        )
        call = method(exchange.write_async(batches), metadata=self._metadata)
        ending = Ending(call)
        try:
            async for message in call:
                answer = exchange.read(message)
                exchange.room.release()
                yield answer
            exchange.finish()
        except grpc.RpcError as error:
            raise exchange.translate(await ending.error(error)) from error
        finally:
            call.cancel()

    async def get_model(self, model: str = "", version: str = "") -> ModelDescription:
        """Describe one served model; by default the only one."""
        return await self._wait(get_model(model, version))

    async def list_models(self) -> tuple[ModelDescription, ...]:
        """Describe every served model."""
        return await self._wait(list_models())

    async def check_health(self, service: str = "") -> bool:
        """Return whether the server, or one service of it, takes requests."""
        return await self._wait(check_health(service))

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _wait(self, call: Call[_Value]) -> _Value:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, Any] = (
            self._channel.unary_unary(call.path, None, call.parse_bytes)
        )
        timeout = call.timeout_or(self._timeout_seconds)
        try:
            message = await method(
                call.request, timeout=timeout, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise translate(error, self._target) from error
        return call.convert(message)
