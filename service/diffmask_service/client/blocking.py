"""The client that blocks."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

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
from diffmask_service.client.streams import PATH, Exchange, parse_bytes
from diffmask_service.core.values import Explanation, ModelDescription, Reply, TextInput
from diffmask_service.errors import DiffMaskError

_Value = TypeVar("_Value")


class Client:
    """A blocking client. One may serve many threads.

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
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )

    def explain(self, inputs: Inputs, **keywords: Unpack[ExplainKeywords]) -> Reply:
        """Predict texts and explain the predictions.

        Args:
            inputs: One text or pair, or several.
            **keywords: See `ExplainKeywords`.

        Raises:
            InvalidInput: The request is malformed or a text does not fit the model.
            NotFound: No such model, version or state.
            OverloadedError: The server has no room; says when to try again.
            DeadlineError: The time ran out.
            NotReadyError: Nobody listens, or the server is loading or draining.
            ServerError: The server failed in another way.
        """
        return self._wait(explain(inputs, **keywords))

    def explain_one(
        self, text: str | TextInput, **keywords: Unpack[ExplainKeywords]
    ) -> Explanation:
        """Predict one text and explain the prediction; otherwise like `explain`."""
        return self.explain(text, **keywords).explanations[0]

    def explain_stream(
        self, batches: Iterable[Inputs], **keywords: Unpack[ExplainKeywords]
    ) -> Iterator[Reply | DiffMaskError]:
        """Explain one batch after the other, many of them in progress at a time.

        Batches are taken from the iterable as fast as the server reads them, on a
        thread of gRPC's. Leaving the iteration early drops what still waits.

        Args:
            batches: Of each request its text, pair or several of them.
            **keywords: See `ExplainKeywords`; `timeout_seconds` holds for each request
                from its arrival at the server.

        Yields:
            For each batch, in order, its reply, or the error that it alone had.

        Raises:
            InvalidInput: A batch cannot be sent; those before it are answered first.
            DiffMaskError: The stream itself failed, as `explain` tells.
        """
        timeout = keywords.get("timeout_seconds")
        exchange = Exchange(
            target=self._target,
            keywords=keywords,
            timeout_seconds=self._timeout_seconds if timeout is None else timeout,
        )
        method: grpc.StreamStreamMultiCallable[bytes, Any] = (
            self._channel.stream_stream(PATH, None, parse_bytes)
        )
        call = method(exchange.write(batches), metadata=self._metadata)
        try:
            for message in call:
                yield exchange.read(message)
            exchange.finish()
        except grpc.RpcError as error:
            raise exchange.translate(error) from error
        finally:
            call.cancel()

    def get_model(self, model: str = "", version: str = "") -> ModelDescription:
        """Describe one served model; by default the only one.

        Raises:
            NotFound: No such model or version.
        """
        return self._wait(get_model(model, version))

    def list_models(self) -> tuple[ModelDescription, ...]:
        """Describe every served model."""
        return self._wait(list_models())

    def check_health(self, service: str = "") -> bool:
        """Return whether the server, or one service of it, takes requests.

        Args:
            service: Name of the service; empty for the server as a whole.

        Raises:
            NotFound: The server knows no such service.
            NotReadyError: Nobody listens.
        """
        return self._wait(check_health(service))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self, call: Call[_Value]) -> _Value:
        method: grpc.UnaryUnaryMultiCallable[bytes, Any] = self._channel.unary_unary(
            call.path, None, call.parse_bytes
        )
        timeout = call.timeout_or(self._timeout_seconds)
        try:
            message = method(call.request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise translate(error, self._target) from error
        return call.convert(message)
