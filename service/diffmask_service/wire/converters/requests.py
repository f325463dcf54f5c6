"""Explain requests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    GateKind,
    Granularity,
    TextInput,
)
from diffmask_service.errors import InvalidInput, shown_name
from diffmask_service.wire.pb import explain_pb2 as pb

_GATE_KIND_BY_NUMBER: Mapping[int, GateKind] = {
    pb.GATE_KIND_INPUT: GateKind.INPUT,
    pb.GATE_KIND_HIDDEN: GateKind.HIDDEN,
}
_NUMBER_BY_GATE_KIND = {
    GateKind.INPUT: pb.GATE_KIND_INPUT,
    GateKind.HIDDEN: pb.GATE_KIND_HIDDEN,
}
_GRANULARITY_BY_NUMBER: Mapping[int, Granularity] = {
    pb.GRANULARITY_UNSPECIFIED: Granularity.TOKENS,
    pb.GRANULARITY_TOKENS: Granularity.TOKENS,
    pb.GRANULARITY_WORDS: Granularity.WORDS,
}
_NUMBER_BY_GRANULARITY = {
    Granularity.TOKENS: pb.GRANULARITY_TOKENS,
    Granularity.WORDS: pb.GRANULARITY_WORDS,
}
_MAX_UINT32 = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainCall:
    """One call of Explain.

    Attributes:
        model: Name of the model; empty for the only one served.
        version: Its version; empty for the highest that is ready.
        inputs: The texts, at least one.
        options: What the answers should hold.
    """

    model: str
    version: str
    inputs: tuple[TextInput, ...]
    options: ExplainOptions


def request_from_proto(message: pb.ExplainRequest) -> ExplainCall:
    """Parse a request.

    Raises:
        InvalidInput: A field is missing, unknown or contradicts another; the message
            begins with its name.
    """
    if not message.inputs:
        raise InvalidInput("inputs: is empty; send at least one text")
    return ExplainCall(
        model=message.model,
        version=message.version,
        inputs=tuple(
            TextInput(
                text=item.text,
                text_pair=item.text_pair if item.HasField("text_pair") else None,
                masked_tokens=tuple(item.masked_tokens),
            )
            for item in message.inputs
        ),
        options=_options_from_proto(message.options),
    )


def request_to_proto(call: ExplainCall) -> pb.ExplainRequest:
    """Write a request.

    Raises:
        InvalidInput: A text cannot be encoded as UTF-8, or top_k or the place of a
            masked token is out of range.
    """
    options = call.options
    places = (place for item in call.inputs for place in item.masked_tokens)
    if any(not 0 <= place <= _MAX_UINT32 for place in places):
        raise InvalidInput(
            "inputs.masked_tokens: holds a place that no token has; count from 0"
        )
    if options.top_k is not None and not 1 <= options.top_k <= _MAX_UINT32:
        raise InvalidInput(
            f"options.top_k: is {options.top_k}; give at least 1, or leave it out for"
            " all units"
        )
    try:
        return pb.ExplainRequest(
            model=call.model,
            version=call.version,
            inputs=[
                pb.TextInput(
                    text=item.text,
                    text_pair=item.text_pair,
                    masked_tokens=item.masked_tokens,
                )
                for item in call.inputs
            ],
            options=pb.ExplainOptions(
                gates=[gate_kind_to_proto(k) for k in GateKind if k in options.gates],
                states=options.states,
                granularity=_NUMBER_BY_GRANULARITY[options.granularity],
                top_k=options.top_k,
                truncate=options.truncate,
                verify=(
                    pb.VerifyOptions(states=options.verify_states)
                    if options.verify
                    else None
                ),
                explain_when=_condition_to_proto(options.explain_when),
            ),
        )
    except UnicodeEncodeError as error:
        raise InvalidInput(
            "a text or name holds a lone surrogate, which UTF-8 cannot encode;"
            " decode your input with errors='replace'"
        ) from error


def gate_kind_to_proto(kind: GateKind) -> pb.GateKind:
    """Return the enum value of a kind of gate."""
    return _NUMBER_BY_GATE_KIND[kind]


def gate_kind_from_proto(number: int) -> GateKind | None:
    """Return the kind of gate behind an enum value, or None for an unknown one."""
    return _GATE_KIND_BY_NUMBER.get(number)


def _options_from_proto(message: pb.ExplainOptions) -> ExplainOptions:
    granularity = _GRANULARITY_BY_NUMBER.get(message.granularity)
    if granularity is None:
        raise InvalidInput(
            f"options.granularity: {message.granularity} is not a known value;"
            f" use {_spelled(pb.Granularity.keys())}"
        )
    if message.HasField("top_k") and message.top_k == 0:
        raise InvalidInput(
            "options.top_k: is 0; give at least 1, or leave it out for all units"
        )
    return ExplainOptions(
        gates=_gates_from_proto(message.gates),
        states=_distinct(message.states, "options.states"),
        granularity=granularity,
        top_k=message.top_k if message.HasField("top_k") else None,
        truncate=message.truncate,
        verify=message.HasField("verify"),
        verify_states=_distinct(message.verify.states, "options.verify.states"),
        explain_when=(
            _condition_from_proto(message.explain_when)
            if message.HasField("explain_when")
            else None
        ),
    )


_BOUNDS = ("probability_below", "probability_at_least", "entropy_at_least")


def _condition_to_proto(condition: ExplainWhen | None) -> pb.ExplainWhen | None:
    if condition is None:
        return None
    return pb.ExplainWhen(
        labels=condition.labels,
        probability_below=condition.probability_below,
        probability_at_least=condition.probability_at_least,
        entropy_at_least=condition.entropy_at_least,
    )


def _condition_from_proto(message: pb.ExplainWhen) -> ExplainWhen:
    bounds = {
        name: getattr(message, name) for name in _BOUNDS if message.HasField(name)
    }
    return ExplainWhen(labels=tuple(message.labels), **bounds)


def _gates_from_proto(numbers: Sequence[int]) -> frozenset[GateKind]:
    kinds = set()
    for number in numbers:
        kind = gate_kind_from_proto(number)
        if kind is None:
            raise InvalidInput(
                f"options.gates: {number} is not a known value;"
                f" use {_spelled(pb.GateKind.keys())}"
            )
        kinds.add(kind)
    return frozenset(kinds)


def _distinct(names: Sequence[str], field: str) -> tuple[str, ...]:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise InvalidInput(f"{field}: holds {shown_name(name)} twice; name each once")
    return tuple(names)


def _spelled(names: Sequence[str]) -> str:
    # The zero value is there for absence only; nobody should be told to send it.
    return " or ".join(names[1:])
