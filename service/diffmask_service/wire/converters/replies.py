"""Replies to Explain."""

from collections.abc import Callable
from typing import TypeVar

from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import Explanation, Reply, Timings, Verification
from diffmask_service.wire.converters.arrays import malformed, pack, unpack
from diffmask_service.wire.converters.models import (
    identity_from_proto,
    identity_to_proto,
)
from diffmask_service.wire.converters.predictions import (
    prediction_from_proto,
    prediction_to_proto,
)
from diffmask_service.wire.converters.units import units_from_proto, units_to_proto
from diffmask_service.wire.pb import explain_pb2 as pb

_Value = TypeVar("_Value")
_Message = TypeVar("_Message")


def reply_to_proto(reply: Reply) -> pb.ExplainResponse:
    """Write a reply."""
    return pb.ExplainResponse(
        model=identity_to_proto(reply.model),
        states=reply.states,
        explanations=[_explanation_to_proto(item) for item in reply.explanations],
        timings=pb.Timings(
            tokenize_seconds=reply.timings.tokenize_seconds,
            queue_seconds=reply.timings.queue_seconds,
            infer_seconds=reply.timings.infer_seconds,
            decode_seconds=reply.timings.decode_seconds,
        ),
        request_id=reply.request_id,
    )


def reply_from_proto(message: pb.ExplainResponse) -> Reply:
    """Parse a reply.

    Raises:
        ServerError: An array does not have the size that the rest of the reply implies.
    """
    return Reply(
        model=identity_from_proto(message.model),
        states=tuple(message.states),
        explanations=tuple(
            _explanation_from_proto(item, num_states=len(message.states))
            for item in message.explanations
        ),
        timings=Timings(
            tokenize_seconds=message.timings.tokenize_seconds,
            queue_seconds=message.timings.queue_seconds,
            infer_seconds=message.timings.infer_seconds,
            decode_seconds=message.timings.decode_seconds,
        ),
        request_id=message.request_id,
    )


def _explanation_to_proto(explanation: Explanation) -> pb.Explanation:
    return pb.Explanation(
        prediction=prediction_to_proto(explanation.prediction),
        num_tokens=explanation.num_tokens,
        is_truncated=explanation.is_truncated,
        units=_optional(units_to_proto, explanation.units),
        scores=b"" if explanation.scores is None else pack(explanation.scores),
        input_gates=_optional(_gates_to_proto, explanation.input_gates),
        hidden_gates=_optional(_gates_to_proto, explanation.hidden_gates),
        verifications=[
            pb.Verification(
                state=item.state,
                divergence=item.divergence,
                is_agreeing=item.is_agreeing,
                kept_share=item.kept_share,
                prediction=prediction_to_proto(item.prediction),
            )
            for item in explanation.verifications
        ],
        is_left_out=explanation.is_left_out,
    )


def _explanation_from_proto(message: pb.Explanation, *, num_states: int) -> Explanation:
    units = units_from_proto(message.units) if message.HasField("units") else None
    shape = (num_states, 0 if units is None else len(units.texts))

    def gates(name: str) -> Float32Array | None:
        if not message.HasField(name):
            return None
        return _gates_from_proto(getattr(message, name), shape, name)

    return Explanation(
        prediction=prediction_from_proto(message.prediction),
        num_tokens=message.num_tokens,
        is_truncated=message.is_truncated,
        units=units,
        scores=None if units is None else unpack(message.scores, shape[1:], "scores"),
        input_gates=gates("input_gates"),
        hidden_gates=gates("hidden_gates"),
        verifications=tuple(
            Verification(
                state=item.state,
                divergence=item.divergence,
                is_agreeing=item.is_agreeing,
                kept_share=item.kept_share,
                prediction=prediction_from_proto(item.prediction),
            )
            for item in message.verifications
        ),
        is_left_out=message.is_left_out,
    )


def _gates_to_proto(gates: Float32Array) -> pb.Gates:
    return pb.Gates(values=pack(gates), shape=gates.shape)


def _gates_from_proto(
    message: pb.Gates, shape: tuple[int, int], name: str
) -> Float32Array:
    if tuple(message.shape) != shape:
        raise malformed(
            f"{name} of shape {list(message.shape)} for {shape[0]} states and"
            f" {shape[1]} units"
        )
    return unpack(message.values, shape, name)


def _optional(
    convert: Callable[[_Value], _Message], value: _Value | None
) -> _Message | None:
    return None if value is None else convert(value)
