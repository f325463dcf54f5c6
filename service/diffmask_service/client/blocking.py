"""The client that blocks."""

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
from diffmask_service.client.channel import CHANNEL_OPTIONS, translate
from diffmask_service.core.values import (
    Explanation,
    ModelDescription,
    Reply,
    TextInput,
)

_Value = TypeVar("_Value")


class Client:
    """A blocking client. One may serve many threads.

    Args:
        target: Host and port of the server.
        credentials: What secures the channel; None for plain text.
        timeout_seconds: Time for a call that names none, seconds, > 0.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._target = target
        self._timeout_seconds = timeout_seconds
        self._channel = (
            grpc.insecure_channel(target, CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, CHANNEL_OPTIONS)
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
            message = method(call.request, timeout=timeout)
        except grpc.RpcError as error:
            raise translate(error, self._target) from error
        return call.convert(message)
