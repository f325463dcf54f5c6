"""Outputs of each task: what the model said."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from diffmask_service.core.predictions import (
    LabelPrediction,
    LabelSetPrediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.core.values import Task
from diffmask_service.wire.inference.answers import (
    Answers,
    Output,
    asked,
    of_text,
    spread_offsets,
    spread_texts,
)
from diffmask_service.wire.inference.axes import Axis, padded
from diffmask_service.wire.inference.tensors import Array, Datatype, bytes_array

_Prediction = TypeVar("_Prediction")


def _predictions(answers: Answers, kind: type[_Prediction]) -> list[_Prediction]:
    found = (each.prediction for each in answers.explanations)
    return [prediction for prediction in found if isinstance(prediction, kind)]


def _label(answers: Answers) -> Array:
    predictions = _predictions(answers, LabelPrediction)
    return bytes_array([each.label.encode() for each in predictions])


def _label_probabilities(answers: Answers) -> Array:
    predictions = _predictions(answers, LabelPrediction)
    return np.array([each.probabilities for each in predictions])


def _label_mask(answers: Answers) -> Array:
    predictions = _predictions(answers, LabelSetPrediction)
    every_label = np.arange(len(answers.labels))
    return np.array([np.isin(every_label, each.label_indices) for each in predictions])


def _label_set_probabilities(answers: Answers) -> Array:
    predictions = _predictions(answers, LabelSetPrediction)
    return np.array([each.probabilities for each in predictions])


def _value(answers: Answers) -> Array:
    return np.array([each.value for each in _predictions(answers, ValuePrediction)])


def _logits(answers: Answers) -> Array:
    return np.array([asked(each.logits) for each in answers.explanations])


def _words_axis(answers: Answers) -> Axis:
    tags = _predictions(answers, TagsPrediction)
    return padded([len(each.labels) for each in tags])


def _words(answers: Answers) -> Array:
    tags = _predictions(answers, TagsPrediction)
    return spread_texts([each.words for each in tags], _words_axis(answers))


def _word_offsets(answers: Answers) -> Array:
    tags = _predictions(answers, TagsPrediction)
    return spread_offsets(
        [each.words for each in tags],
        _words_axis(answers),
        has_offsets=answers.has_offsets,
    )


def _word_mask(answers: Answers) -> Array:
    return _words_axis(answers).mask


def _word_label(answers: Answers) -> Array:
    rows = [
        bytes_array([label.encode() for label in each.labels])
        for each in _predictions(answers, TagsPrediction)
    ]
    return _words_axis(answers).spread(rows, fill=b"")


def _word_probabilities(answers: Answers) -> Array:
    tags = _predictions(answers, TagsPrediction)
    return _words_axis(answers).spread([each.probabilities for each in tags])


def _token_logits(answers: Answers) -> Array:
    return answers.tokens.spread([asked(each.logits) for each in answers.explanations])


def _answer(answers: Answers) -> Array:
    spans = _predictions(answers, SpanPrediction)
    return bytes_array([each.text.encode() for each in spans])


def _answer_offsets(answers: Answers) -> Array:
    spans = _predictions(answers, SpanPrediction)
    offsets = np.array([(each.start, each.end) for each in spans])
    return offsets if answers.has_offsets else np.full_like(offsets, -1)


def _probability(answers: Answers) -> Array:
    return np.array(
        [each.probability for each in _predictions(answers, SpanPrediction)]
    )


def _start_logits(answers: Answers) -> Array:
    return _token_logits(answers)[..., 0]


def _end_logits(answers: Answers) -> Array:
    return _token_logits(answers)[..., 1]


OUTPUTS_BY_TASK: Mapping[Task, tuple[Output, ...]] = {
    Task.TEXT_CLASSIFICATION: (
        of_text("label", Datatype.BYTES, _label),
        of_text("probabilities", Datatype.FP32, _label_probabilities, "labels"),
        of_text("logits", Datatype.FP32, _logits, "labels"),
    ),
    Task.MULTI_LABEL_CLASSIFICATION: (
        of_text("label_mask", Datatype.BOOL, _label_mask, "labels"),
        of_text("probabilities", Datatype.FP32, _label_set_probabilities, "labels"),
        of_text("logits", Datatype.FP32, _logits, "labels"),
    ),
    Task.REGRESSION: (of_text("value", Datatype.FP32, _value),),
    Task.TOKEN_CLASSIFICATION: (
        of_text("words", Datatype.BYTES, _words, "words"),
        of_text("word_offsets", Datatype.INT32, _word_offsets, "words", 2),
        of_text("word_mask", Datatype.BOOL, _word_mask, "words"),
        of_text("label", Datatype.BYTES, _word_label, "words"),
        of_text("probabilities", Datatype.FP32, _word_probabilities, "words", "labels"),
        of_text("logits", Datatype.FP32, _token_logits, "tokens", "labels"),
    ),
    Task.QUESTION_ANSWERING: (
        of_text("answer", Datatype.BYTES, _answer),
        of_text("answer_offsets", Datatype.INT32, _answer_offsets, 2),
        of_text("probability", Datatype.FP32, _probability),
        of_text("start_logits", Datatype.FP32, _start_logits, "tokens"),
        of_text("end_logits", Datatype.FP32, _end_logits, "tokens"),
    ),
}
