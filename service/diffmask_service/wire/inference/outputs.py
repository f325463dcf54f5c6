"""Which outputs a model has, and how each is made from the answer to a batch.

One table holds the outputs of every model, another those of each task. What an output
needs is part of its row, so that nothing is computed that nobody asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from diffmask_service.core.alignment import group_tokens
from diffmask_service.core.values import (
    Explanation,
    Float32Array,
    GateKind,
    LabelPrediction,
    LabelSetPrediction,
    ModelDescription,
    SpanPrediction,
    TagsPrediction,
    Task,
    TokenizedText,
    Units,
    ValuePrediction,
    Verification,
)
from diffmask_service.wire.inference.axes import Axis, padded
from diffmask_service.wire.inference.tensors import Array, Datatype, bytes_array

_Prediction = TypeVar("_Prediction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the outputs of a batch are made of.

    Attributes:
        explanations: One for each text, at least one.
        labels: Label names of the model.
        tokens: Where the tokens stand.
        units: Where the tokens or words stand that the explanations speak of.
        has_offsets: Whether the texts came as texts, so that tokens stand in them.
    """

    explanations: tuple[Explanation, ...]
    labels: tuple[str, ...]
    tokens: Axis
    units: Axis
    has_offsets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output.

    Attributes:
        name: Its name.
        datatype: What an element is.
        axes: Names of its axes, or the size of one that has no name.
        make: Makes its values.
        gates: Gates that must be computed for it.
        is_of_units: Whether it speaks of the units that the caller chose.
        verifies: Whether the kept tokens must be run for it.
    """

    name: str
    datatype: Datatype
    axes: tuple[str | int, ...]
    make: Callable[[Answers], Array]
    gates: frozenset[GateKind] = frozenset()
    is_of_units: bool = False
    verifies: bool = False


def outputs_of(model: ModelDescription) -> tuple[Output, ...]:
    """Return every output of a model, in the order in which all of them come."""
    offered = frozenset(model.gates)
    return (
        *_OUTPUTS_BY_TASK[model.task],
        *(each for each in _EXPLANATION if each.gates <= offered),
    )


def units_of(explanation: Explanation) -> Units:
    """Return what an explanation speaks of: its units, or every token."""
    if explanation.units is not None:
        return explanation.units
    return group_tokens(_tokenized(explanation)).units


def _tokenized(explanation: Explanation) -> TokenizedText:
    if explanation.tokenized is None:
        raise AssertionError("an engine says what it read")
    return explanation.tokenized


def _texts(units: Sequence[Units], axis: Axis) -> Array:
    rows = [bytes_array([text.encode() for text in each.texts]) for each in units]
    return axis.spread(rows, fill=b"")


def _offsets(units: Sequence[Units], axis: Axis, *, has_offsets: bool) -> Array:
    rows = [np.stack([each.starts, each.ends], axis=-1) for each in units]
    offsets = axis.spread(rows, fill=-1)
    return offsets if has_offsets else np.full_like(offsets, -1)


def _unit_texts(answers: Answers) -> Array:
    return _texts([units_of(each) for each in answers.explanations], answers.units)


def _unit_offsets(answers: Answers) -> Array:
    return _offsets(
        [units_of(each) for each in answers.explanations],
        answers.units,
        has_offsets=answers.has_offsets,
    )


def _segments(answers: Answers) -> Array:
    return answers.units.spread(
        [units_of(each).segments for each in answers.explanations]
    )


def _is_special(answers: Answers) -> Array:
    return answers.units.spread(
        [units_of(each).is_special for each in answers.explanations]
    )


def _token_mask(answers: Answers) -> Array:
    return answers.units.mask


def _num_tokens(answers: Answers) -> Array:
    return np.array([each.num_tokens for each in answers.explanations])


def _is_truncated(answers: Answers) -> Array:
    return np.array([each.is_truncated for each in answers.explanations])


def _scores(answers: Answers) -> Array:
    return answers.units.spread([_asked(each.scores) for each in answers.explanations])


def _input_gates(answers: Answers) -> Array:
    return _gates(answers, [_asked(each.input_gates) for each in answers.explanations])


def _hidden_gates(answers: Answers) -> Array:
    return _gates(answers, [_asked(each.hidden_gates) for each in answers.explanations])


def _gates(answers: Answers, gates: Sequence[Float32Array]) -> Array:
    # `[layers, tokens]` each to `[batch, layers, tokens]`.
    return answers.units.spread([each.T for each in gates]).swapaxes(1, 2)


def _asked(values: Float32Array | None) -> Float32Array:
    if values is None:
        raise AssertionError("what an output needs is computed")
    return values


def _verified(
    answers: Answers, read: Callable[[Verification], bool | float]
) -> list[list[bool | float]]:
    return [[read(each) for each in one.verifications] for one in answers.explanations]


def _verify_agreement(answers: Answers) -> Array:
    return np.array(_verified(answers, lambda each: each.is_agreeing))


def _verify_divergence(answers: Answers) -> Array:
    return np.array(_verified(answers, lambda each: each.divergence))


def _verify_kept_share(answers: Answers) -> Array:
    return np.array(_verified(answers, lambda each: each.kept_share))


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
    return np.array([_asked(each.logits) for each in answers.explanations])


def _words_axis(answers: Answers) -> Axis:
    tags = _predictions(answers, TagsPrediction)
    return padded([len(each.labels) for each in tags])


def _words(answers: Answers) -> Array:
    tags = _predictions(answers, TagsPrediction)
    return _texts([each.words for each in tags], _words_axis(answers))


def _word_offsets(answers: Answers) -> Array:
    tags = _predictions(answers, TagsPrediction)
    return _offsets(
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
    return answers.tokens.spread([_asked(each.logits) for each in answers.explanations])


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


def _of_text(
    name: str, datatype: Datatype, make: Callable[[Answers], Array], *axes: str | int
) -> Output:
    return Output(name=name, datatype=datatype, axes=("batch", *axes), make=make)


def _of_units(
    name: str,
    datatype: Datatype,
    make: Callable[[Answers], Array],
    *axes: str | int,
    gates: frozenset[GateKind] = frozenset(),
) -> Output:
    return Output(
        name=name,
        datatype=datatype,
        axes=("batch", *(axes or ("tokens",))),
        make=make,
        gates=gates,
        is_of_units=True,
    )


def _of_masks(
    name: str, datatype: Datatype, make: Callable[[Answers], Array]
) -> Output:
    return Output(
        name=name,
        datatype=datatype,
        axes=("batch", "masks"),
        make=make,
        verifies=True,
    )


_INPUT = frozenset({GateKind.INPUT})
_HIDDEN = frozenset({GateKind.HIDDEN})
_EXPLANATION: tuple[Output, ...] = (
    _of_text("num_tokens", Datatype.INT32, _num_tokens),
    _of_text("is_truncated", Datatype.BOOL, _is_truncated),
    _of_units("tokens", Datatype.BYTES, _unit_texts),
    _of_units("offsets", Datatype.INT32, _unit_offsets, "tokens", 2),
    _of_units("segments", Datatype.INT32, _segments),
    _of_units("is_special", Datatype.BOOL, _is_special),
    _of_units("token_mask", Datatype.BOOL, _token_mask),
    _of_units("scores", Datatype.FP32, _scores, gates=_INPUT),
    _of_units(
        "input_gates", Datatype.FP32, _input_gates, "layers", "tokens", gates=_INPUT
    ),
    _of_units(
        "hidden_gates", Datatype.FP32, _hidden_gates, "layers", "tokens", gates=_HIDDEN
    ),
    _of_masks("verify_agreement", Datatype.BOOL, _verify_agreement),
    _of_masks("verify_divergence", Datatype.FP32, _verify_divergence),
    _of_masks("verify_kept_share", Datatype.FP32, _verify_kept_share),
)
_OUTPUTS_BY_TASK: Mapping[Task, tuple[Output, ...]] = {
    Task.TEXT_CLASSIFICATION: (
        _of_text("label", Datatype.BYTES, _label),
        _of_text("probabilities", Datatype.FP32, _label_probabilities, "labels"),
        _of_text("logits", Datatype.FP32, _logits, "labels"),
    ),
    Task.MULTI_LABEL_CLASSIFICATION: (
        _of_text("label_mask", Datatype.BOOL, _label_mask, "labels"),
        _of_text("probabilities", Datatype.FP32, _label_set_probabilities, "labels"),
        _of_text("logits", Datatype.FP32, _logits, "labels"),
    ),
    Task.REGRESSION: (_of_text("value", Datatype.FP32, _value),),
    Task.TOKEN_CLASSIFICATION: (
        _of_text("words", Datatype.BYTES, _words, "words"),
        _of_text("word_offsets", Datatype.INT32, _word_offsets, "words", 2),
        _of_text("word_mask", Datatype.BOOL, _word_mask, "words"),
        _of_text("label", Datatype.BYTES, _word_label, "words"),
        _of_text(
            "probabilities", Datatype.FP32, _word_probabilities, "words", "labels"
        ),
        _of_text("logits", Datatype.FP32, _token_logits, "tokens", "labels"),
    ),
    Task.QUESTION_ANSWERING: (
        _of_text("answer", Datatype.BYTES, _answer),
        _of_text("answer_offsets", Datatype.INT32, _answer_offsets, 2),
        _of_text("probability", Datatype.FP32, _probability),
        _of_text("start_logits", Datatype.FP32, _start_logits, "tokens"),
        _of_text("end_logits", Datatype.FP32, _end_logits, "tokens"),
    ),
}
