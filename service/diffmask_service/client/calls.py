"""What each method sends and how its answer is read, whoever waits for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack

from grpc_health.v1 import health_pb2

from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    GateKind,
    Granularity,
    ModelDescription,
    Reply,
    TextInput,
)
from diffmask_service.errors import InvalidInput
from diffmask_service.wire.converters import (
    ExplainCall,
    model_from_proto,
    reply_from_proto,
    request_to_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb

Inputs = str | TextInput | Iterable[str | TextInput]

_SERVICE = "/diffmask.v1.Explainer"
_HEALTH = "/grpc.health.v1.Health"
_Value = TypeVar("_Value")


class ExplainKeywords(TypedDict, total=False):
    """What `explain` takes beside the texts; each has a default.

    Attributes:
        gates: Which gates to return; none for the prediction alone. Default: both.
        states: Names of the states to return, in that order. Default: all.
        granularity: Whether a unit is a token or a word. Default: tokens.
        top_k: Return only this many units of highest score, >= 1. Default: all.
        truncate: Cut a text over the token limit, do not refuse it. Default: False.
        verify: Run the model once more on the kept tokens. Default: False.
        verify_states: Verify the masks of these states instead of the aggregate
            score's. Default: none.
        explain_when: Leave gates and verifications out where the prediction does not
            meet this. Default: None, nothing is left out.
        model: Name of the model. Default: the only one served.
        version: Its version. Default: the highest that is ready.
        timeout_seconds: Time for this call, seconds, > 0. Default: the client's.
    """

    gates: Iterable[GateKind | Literal["input", "hidden"]]
    states: Iterable[str]
    granularity: Granularity | Literal["tokens", "words"]
    top_k: int | None
    truncate: bool
    verify: bool
    verify_states: Iterable[str]
    explain_when: ExplainWhen | None
    model: str
    version: str
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[_Value]):
    """One call, whichever way it is made.

    Attributes:
        path: Full name of the method.
        request: The message that goes out, in bytes.
        parse_bytes: Bytes of the answer to its message.
        convert: Message to the value that the caller gets.
        timeout_seconds: Time for this call, seconds, or None for the client's default.
    """

    path: str
    request: bytes
    parse_bytes: Callable[[bytes], Any]
    convert: Callable[[Any], _Value]
    timeout_seconds: float | None

    def timeout_or(self, default_seconds: float) -> float:
        """Return the time for this call, seconds."""
        if self.timeout_seconds is None:
            return default_seconds
        return self.timeout_seconds


def explain_call(
    inputs: Inputs,
    *,
    gates: Iterable[str] = tuple(GateKind),
    states: Iterable[str] = (),
    granularity: str = Granularity.TOKENS,
    top_k: int | None = None,
    truncate: bool = False,
    verify: bool = False,
    verify_states: Iterable[str] = (),
    explain_when: ExplainWhen | None = None,
    model: str = "",
    version: str = "",
    timeout_seconds: float | None = None,
) -> ExplainCall:
    """Return what to ask for; the time is checked, and is not part of it.

    Raises:
        InvalidInput: A keyword has a value that it cannot have.
    """
    if timeout_seconds is not None and not timeout_seconds > 0:
        raise InvalidInput(
            f"timeout_seconds is {timeout_seconds}; give more than 0, or leave it out"
            " for the client's default"
        )
    items = (inputs,) if isinstance(inputs, str | TextInput) else inputs
    verify_states = tuple(verify_states)
    try:
        options = ExplainOptions(
            gates=frozenset(map(GateKind, gates)),
            states=tuple(states),
            granularity=Granularity(granularity),
            top_k=top_k,
            truncate=truncate,
            verify=verify or bool(verify_states),
            verify_states=verify_states,
            explain_when=explain_when,
        )
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    return ExplainCall(
        model=model,
        version=version,
        inputs=tuple(
            TextInput(text=item) if isinstance(item, str) else item for item in items
        ),
        options=options,
    )


def explain(inputs: Inputs, **keywords: Unpack[ExplainKeywords]) -> Call[Reply]:
    """Return the call of Explain.

    Raises:
        InvalidInput: A keyword or text cannot be sent.
    """
    return Call(
        path=f"{_SERVICE}/Explain",
        request=request_to_proto(explain_call(inputs, **keywords)).SerializeToString(),
        parse_bytes=pb.ExplainResponse.FromString,
        convert=reply_from_proto,
        timeout_seconds=keywords.get("timeout_seconds"),
    )


def get_model(model: str, version: str) -> Call[ModelDescription]:
    """Return the call of GetModel."""
    return Call(
        path=f"{_SERVICE}/GetModel",
        request=pb.GetModelRequest(model=model, version=version).SerializeToString(),
        parse_bytes=pb.Model.FromString,
        convert=model_from_proto,
        timeout_seconds=None,
    )


def list_models() -> Call[tuple[ModelDescription, ...]]:
    """Return the call of ListModels."""
    return Call(
        path=f"{_SERVICE}/ListModels",
        request=pb.ListModelsRequest().SerializeToString(),
        parse_bytes=pb.ListModelsResponse.FromString,
        convert=lambda message: tuple(map(model_from_proto, message.models)),
        timeout_seconds=None,
    )


def check_health(service: str) -> Call[bool]:
    """Return the call of the health service's Check."""
    return Call(
        path=f"{_HEALTH}/Check",
        request=health_pb2.HealthCheckRequest(service=service).SerializeToString(),
        parse_bytes=health_pb2.HealthCheckResponse.FromString,
        convert=lambda message: (
            message.status == health_pb2.HealthCheckResponse.SERVING
        ),
        timeout_seconds=None,
    )
