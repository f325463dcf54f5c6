"""Outputs of every model: tokens, gates, verifications."""

from collections.abc import Callable, Sequence

import numpy as np

from diffmask_service.core.alignment import group_tokens
from diffmask_service.core.predictions import Float32Array, Units
from diffmask_service.core.values import (
    Explanation,
    GateKind,
    TokenizedText,
    Verification,
)
from diffmask_service.wire.inference.answers import (
    Answers,
    Output,
    asked,
    of_text,
    spread_offsets,
    spread_texts,
)
from diffmask_service.wire.inference.tensors import Array, Datatype


def units_of(explanation: Explanation) -> Units:
    """Return what an explanation speaks of: its units, or every token."""
    if explanation.units is not None:
        return explanation.units
    return group_tokens(_tokenized(explanation)).units


def _tokenized(explanation: Explanation) -> TokenizedText:
    if explanation.tokenized is None:
        raise AssertionError("an engine says what it read")
    return explanation.tokenized


def _unit_texts(answers: Answers) -> Array:
    return spread_texts(
        [units_of(each) for each in answers.explanations], answers.units
    )


def _unit_offsets(answers: Answers) -> Array:
    return spread_offsets(
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
    return answers.units.spread([asked(each.scores) for each in answers.explanations])


def _input_gates(answers: Answers) -> Array:
    return _gates(answers, [asked(each.input_gates) for each in answers.explanations])


def _hidden_gates(answers: Answers) -> Array:
    return _gates(answers, [asked(each.hidden_gates) for each in answers.explanations])


def _gates(answers: Answers, gates: Sequence[Float32Array]) -> Array:
    # `[layers, tokens]` each to `[batch, layers, tokens]`.
    return answers.units.spread([each.T for each in gates]).swapaxes(1, 2)


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
OUTPUTS: tuple[Output, ...] = (
    of_text("num_tokens", Datatype.INT32, _num_tokens),
    of_text("is_truncated", Datatype.BOOL, _is_truncated),
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
