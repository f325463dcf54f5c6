"""Predictions of every task.

The label of a text classification stands in the message itself, where clients have
always found it; the other tasks have a message each.
"""

from collections.abc import Callable, Mapping

import numpy as np

from diffmask_service.core.predictions import (
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.wire.converters.arrays import malformed, pack, unpack
from diffmask_service.wire.converters.units import units_from_proto, units_to_proto
from diffmask_service.wire.pb import explain_pb2 as pb


def prediction_to_proto(prediction: Prediction) -> pb.Prediction:
    """Write a prediction."""
    match prediction:
        case LabelPrediction():
            return pb.Prediction(
                label=prediction.label,
                label_index=prediction.label_index,
                probabilities=prediction.probabilities.tolist(),
                logits=prediction.logits.tolist(),
            )
        case LabelSetPrediction():
            label_set = pb.LabelSet(
                labels=prediction.labels,
                label_indices=prediction.label_indices,
                probabilities=prediction.probabilities.tolist(),
                logits=prediction.logits.tolist(),
            )
            return pb.Prediction(label_set=label_set)
        case ValuePrediction():
            return pb.Prediction(value=pb.Value(value=prediction.value))
        case TagsPrediction():
            tags = pb.Tags(
                words=units_to_proto(prediction.words),
                labels=prediction.labels,
                label_indices=prediction.label_indices.tolist(),
                probabilities=pack(prediction.probabilities),
            )
            return pb.Prediction(tags=tags)
        case SpanPrediction():
            span = pb.Span(
                text=prediction.text,
                start=prediction.start,
                end=prediction.end,
                probability=prediction.probability,
                no_answer=prediction.no_answer,
            )
            return pb.Prediction(span=span)


def prediction_from_proto(message: pb.Prediction) -> Prediction:
    """Parse a prediction.

    Raises:
        ServerError: Its parts contradict each other.
    """
    return _PARSER_BY_TASK[message.WhichOneof("of_task")](message)


def _label(message: pb.Prediction) -> LabelPrediction:
    num_labels = len(message.logits)
    if len(message.probabilities) != num_labels or message.label_index >= num_labels:
        raise malformed(
            f"{len(message.probabilities)} probabilities, {num_labels} logits and label"
            f" index {message.label_index}"
        )
    return LabelPrediction(
        label=message.label,
        label_index=message.label_index,
        probabilities=np.array(message.probabilities, dtype=np.float32),
        logits=np.array(message.logits, dtype=np.float32),
    )


def _label_set(message: pb.Prediction) -> LabelSetPrediction:
    given = message.label_set
    num_labels, indices = len(given.logits), tuple(given.label_indices)
    is_whole = len(given.probabilities) == num_labels
    if not is_whole or len(given.labels) != len(indices):
        raise malformed(
            f"{len(given.labels)} labels, {len(indices)} indices,"
            f" {len(given.probabilities)} probabilities and {num_labels} logits"
        )
    if any(index >= num_labels for index in indices):
        raise malformed(f"label index {max(indices)} of {num_labels} labels")
    return LabelSetPrediction(
        labels=tuple(given.labels),
        label_indices=indices,
        probabilities=np.array(given.probabilities, dtype=np.float32),
        logits=np.array(given.logits, dtype=np.float32),
    )


def _value(message: pb.Prediction) -> ValuePrediction:
    return ValuePrediction(value=message.value.value)


def _tags(message: pb.Prediction) -> TagsPrediction:
    given = message.tags
    words = units_from_proto(given.words)
    num_words, indices = len(words.texts), given.label_indices
    if len(given.labels) != num_words or len(indices) != num_words:
        raise malformed(
            f"{len(given.labels)} labels and {len(indices)} indices for"
            f" {num_words} words"
        )
    num_labels = len(given.probabilities) // (4 * num_words) if num_words else 0
    if any(index >= num_labels for index in indices):
        raise malformed(f"label index {max(indices)} of {num_labels} labels")
    return TagsPrediction(
        words=words,
        labels=tuple(given.labels),
        label_indices=np.array(indices, dtype=np.int64),
        probabilities=unpack(
            given.probabilities, (num_words, num_labels), "probabilities"
        ),
    )


def _span(message: pb.Prediction) -> SpanPrediction:
    given = message.span
    if given.end < given.start:
        raise malformed(f"a span that starts at {given.start} and ends at {given.end}")
    return SpanPrediction(
        text=given.text,
        start=given.start,
        end=given.end,
        probability=given.probability,
        no_answer=given.no_answer,
    )


_PARSER_BY_TASK: Mapping[str | None, Callable[[pb.Prediction], Prediction]] = {
    None: _label,
    "label_set": _label_set,
    "value": _value,
    "tags": _tags,
    "span": _span,
}
