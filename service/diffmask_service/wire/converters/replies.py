"""Replies to Explain."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from diffmask_service.core.values import (
    BoolArray,
    Explanation,
    Float32Array,
    Int64Array,
    Prediction,
    Reply,
    Timings,
    Units,
    Verification,
)
from diffmask_service.errors import ServerError
from diffmask_service.wire.converters.arrays import pack, unpack
from diffmask_service.wire.converters.models import (
    identity_from_proto,
    identity_to_proto,
)
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
        prediction=_prediction_to_proto(explanation.prediction),
        num_tokens=explanation.num_tokens,
        is_truncated=explanation.is_truncated,
        units=_optional(_units_to_proto, explanation.units),
        scores=b"" if explanation.scores is None else pack(explanation.scores),
        input_gates=_optional(_gates_to_proto, explanation.input_gates),
        hidden_gates=_optional(_gates_to_proto, explanation.hidden_gates),
        verifications=[
            pb.Verification(
                state=item.state,
                divergence=item.divergence,
                is_agreeing=item.is_agreeing,
                kept_share=item.kept_share,
                prediction=_prediction_to_proto(item.prediction),
            )
            for item in explanation.verifications
        ],
    )


def _explanation_from_proto(message: pb.Explanation, *, num_states: int) -> Explanation:
    units = _units_from_proto(message.units) if message.HasField("units") else None
    shape = (num_states, 0 if units is None else len(units.texts))

    def gates(name: str) -> Float32Array | None:
        if not message.HasField(name):
            return None
        return _gates_from_proto(getattr(message, name), shape, name)

    return Explanation(
        prediction=_prediction_from_proto(message.prediction),
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
                prediction=_prediction_from_proto(item.prediction),
            )
            for item in message.verifications
        ),
    )


def _prediction_to_proto(prediction: Prediction) -> pb.Prediction:
    return pb.Prediction(
        label=prediction.label,
        label_index=prediction.label_index,
        probabilities=prediction.probabilities.tolist(),
        logits=prediction.logits.tolist(),
    )


def _prediction_from_proto(message: pb.Prediction) -> Prediction:
    num_labels = len(message.logits)
    if len(message.probabilities) != num_labels or message.label_index >= num_labels:
        raise _malformed(
            f"{len(message.probabilities)} probabilities, {num_labels} logits and label"
            f" index {message.label_index}"
        )
    return Prediction(
        label=message.label,
        label_index=message.label_index,
        probabilities=np.array(message.probabilities, dtype=np.float32),
        logits=np.array(message.logits, dtype=np.float32),
    )


def _units_to_proto(units: Units) -> pb.Units:
    return pb.Units(
        texts=units.texts,
        starts=units.starts.tolist(),
        ends=units.ends.tolist(),
        segments=units.segments.tolist(),
        is_special=units.is_special.tolist(),
    )


def _units_from_proto(message: pb.Units) -> Units:
    sizes = {
        len(message.texts),
        len(message.starts),
        len(message.ends),
        len(message.segments),
        len(message.is_special),
    }
    if len(sizes) > 1:
        raise _malformed(f"units whose arrays have sizes {sorted(sizes)}")
    return Units(
        texts=tuple(message.texts),
        starts=_int64(message.starts),
        ends=_int64(message.ends),
        segments=_int64(message.segments),
        is_special=_bool(message.is_special),
    )


def _gates_to_proto(gates: Float32Array) -> pb.Gates:
    return pb.Gates(values=pack(gates), shape=gates.shape)


def _gates_from_proto(
    message: pb.Gates, shape: tuple[int, int], name: str
) -> Float32Array:
    if tuple(message.shape) != shape:
        raise _malformed(
            f"{name} of shape {list(message.shape)} for {shape[0]} states and"
            f" {shape[1]} units"
        )
    return unpack(message.values, shape, name)


def _optional(
    convert: Callable[[_Value], _Message], value: _Value | None
) -> _Message | None:
    return None if value is None else convert(value)


def _int64(values: Sequence[int]) -> Int64Array:
    return np.array(values, dtype=np.int64)


def _bool(values: Sequence[bool]) -> BoolArray:
    return np.array(values, dtype=np.bool_)


def _malformed(what: str) -> ServerError:
    return ServerError(f"malformed reply: it holds {what}", code="DATA_LOSS")
