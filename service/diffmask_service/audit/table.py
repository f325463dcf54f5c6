"""Answers as a table: one row a text, in columns that any reader of Parquet takes.

Axes of gates are `[layers][tokens]`; offsets are code points. What the model did not
say of a row is null.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diffmask_service.audit.answering import Answer
from diffmask_service.audit.rows import Row
from diffmask_service.core.values import (
    Explanation,
    ModelDescription,
    Task,
    Verification,
)
from diffmask_service.errors import InferenceError

_Columns: TypeAlias = dict[str, Any]
_FLOATS = pa.list_(pa.float32())
_INTS = pa.list_(pa.int32())
# Of each task: columns of the prediction, with type and field.
_PREDICTION: Mapping[Task, Sequence[tuple[str, Any, Callable[[Any], Any]]]] = {
    Task.TEXT_CLASSIFICATION: (
        ("prediction", pa.string(), lambda said: said.label),
        ("probabilities", _FLOATS, lambda said: said.probabilities),
        ("logits", _FLOATS, lambda said: said.logits),
    ),
    Task.MULTI_LABEL_CLASSIFICATION: (
        ("prediction", pa.list_(pa.string()), lambda said: said.labels),
        ("probabilities", _FLOATS, lambda said: said.probabilities),
        ("logits", _FLOATS, lambda said: said.logits),
    ),
    Task.REGRESSION: (("prediction", pa.float64(), lambda said: said.value),),
    Task.TOKEN_CLASSIFICATION: (
        ("prediction", pa.list_(pa.string()), lambda said: said.labels),
        ("word_starts", _INTS, lambda said: said.words.starts),
        ("word_ends", _INTS, lambda said: said.words.ends),
        ("probabilities", pa.list_(_FLOATS), lambda said: list(said.probabilities)),
    ),
    Task.QUESTION_ANSWERING: (
        ("prediction", pa.string(), lambda said: said.text),
        ("answer_start", pa.int32(), lambda said: said.start),
        ("answer_end", pa.int32(), lambda said: said.end),
        ("probability", pa.float32(), lambda said: said.probability),
        ("has_no_answer", pa.bool_(), lambda said: said.no_answer),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """One row of the input with what became of it.

    Attributes:
        row: The row.
        answer: What the model said; None for a row that was not sent to it.
    """

    row: Row
    answer: Answer | None

    @property
    def explanation(self) -> Explanation | None:
        """The explanation, where there is one."""
        return self.answer if isinstance(self.answer, Explanation) else None

    @property
    def error(self) -> str | None:
        """Why there is none."""
        if self.row.problem:
            return self.row.problem
        return None if isinstance(self.answer, Explanation) else str(self.answer)

    @property
    def error_kind(self) -> str | None:
        """Who found the error: the reader, the model's checks, or the graph."""
        if self.row.problem:
            return "malformed"
        if isinstance(self.answer, Explanation):
            return None
        return "failed" if isinstance(self.answer, InferenceError) else "refused"


def encode_part(
    audited: Sequence[Audited], model: ModelDescription, *, hash_texts: bool
) -> bytes:
    """Return some rows as a Parquet file.

    Args:
        audited: The rows, in order.
        model: Who answered.
        hash_texts: Write the sha256 of a text in its place, and nothing that its words
            could be read from.
    """
    explained = [each.explanation for each in audited]
    columns = {
        **_of_rows(audited, model, hash_texts=hash_texts),
        **_of_predictions(explained, model, hash_texts=hash_texts),
        **_of_tokens(explained, hash_texts=hash_texts),
        **_of_gates(explained, model),
        **_of_verifications(explained),
        "model_id": pa.array([model.identity.id] * len(audited)),
        "model_version": pa.array([model.identity.version] * len(audited)),
        "model_digest": pa.array([model.identity.digest] * len(audited)),
        "precision": pa.array([model.identity.precision] * len(audited)),
        "error_kind": pa.array([each.error_kind for each in audited], pa.string()),
        "error": pa.array([each.error for each in audited], pa.string()),
    }
    table = pa.table(columns).replace_schema_metadata(
        {
            "diffmask.states": json.dumps(model.states),
            "diffmask.labels": json.dumps(model.labels),
            "diffmask.hard_mask_threshold": str(model.hard_mask_threshold),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _of_rows(
    audited: Sequence[Audited], model: ModelDescription, *, hash_texts: bool
) -> _Columns:
    rows = [each.row for each in audited]
    texts = [None if row.input is None else row.input.text for row in rows]
    pairs = [None if row.input is None else row.input.text_pair for row in rows]
    suffix = "_sha256" if hash_texts else ""
    labels = [row.label for row in rows]
    if hash_texts:
        texts, pairs = list(map(_sha256, texts)), list(map(_sha256, pairs))
        if model.task is Task.QUESTION_ANSWERING:
            # The true answer is a piece of the context.
            labels = [None for _ in labels]
    columns = {
        "row": pa.array([row.number for row in rows], pa.int64()),
        "id": pa.array([row.id for row in rows], pa.string()),
        f"text{suffix}": pa.array(texts, pa.string()),
        f"text_pair{suffix}": pa.array(pairs, pa.string()),
        "label": pa.array(labels, pa.string()),
        "slice": pa.array([row.slice for row in rows], pa.string()),
    }
    if not hash_texts:
        columns["rationale"] = pa.array([row.rationale for row in rows], pa.string())
    return columns


def _of_predictions(
    explained: Sequence[Explanation | None],
    model: ModelDescription,
    *,
    hash_texts: bool,
) -> _Columns:
    is_quoted = hash_texts and model.task is Task.QUESTION_ANSWERING
    return {
        name: pa.array(
            [None if each is None else read(each.prediction) for each in explained],
            kind,
        )
        for name, kind, read in _PREDICTION[model.task]
        if not (is_quoted and name == "prediction")
    }


def _of_tokens(
    explained: Sequence[Explanation | None], *, hash_texts: bool
) -> _Columns:
    units = [None if each is None else each.units for each in explained]

    def column(read: Callable[[Any], Any], kind: Any) -> Any:
        return pa.array([None if each is None else read(each) for each in units], kind)

    def scalar(read: Callable[[Explanation], Any], kind: Any) -> Any:
        return pa.array(
            [None if each is None else read(each) for each in explained], kind
        )

    columns = {
        "num_tokens": scalar(lambda each: each.num_tokens, pa.int32()),
        "is_truncated": scalar(lambda each: each.is_truncated, pa.bool_()),
        "tokens": column(lambda each: each.texts, pa.list_(pa.string())),
        "token_starts": column(lambda each: each.starts, _INTS),
        "token_ends": column(lambda each: each.ends, _INTS),
        "token_segments": column(lambda each: each.segments, pa.list_(pa.int8())),
        "token_is_special": column(lambda each: each.is_special, pa.list_(pa.bool_())),
        "scores": scalar(lambda each: each.scores, _FLOATS),
    }
    if hash_texts:
        del columns["tokens"]
    return columns


def _of_gates(
    explained: Sequence[Explanation | None], model: ModelDescription
) -> _Columns:
    inputs = [None if each is None else each.input_gates for each in explained]
    hidden = [None if each is None else each.hidden_gates for each in explained]
    threshold = np.float32(model.hard_mask_threshold)
    return {
        "input_gates": _nested(inputs),
        "hidden_gates": _nested(hidden),
        # Of the tokens of a text, special tokens counted; `[layers]`.
        "kept_share_by_state": pa.array(
            [
                None if gates is None else np.mean(gates >= threshold, axis=-1)
                for gates in inputs
            ],
            _FLOATS,
        ),
    }


def _of_verifications(explained: Sequence[Explanation | None]) -> _Columns:
    verified = [
        each.verifications[0] if each is not None and each.verifications else None
        for each in explained
    ]

    def column(read: Callable[[Verification], Any], kind: Any) -> Any:
        return pa.array(
            [None if each is None else read(each) for each in verified], kind
        )

    return {
        # As wide as a server sends them.
        "divergence": column(lambda each: np.float32(each.divergence), pa.float32()),
        "is_agreeing": column(lambda each: each.is_agreeing, pa.bool_()),
        "kept_share": column(lambda each: np.float32(each.kept_share), pa.float32()),
    }


def _nested(gates: Sequence[Any]) -> Any:
    # From whole arrays: a list of lists of numbers would take longer than the model.
    present = [each for each in gates if each is not None]
    lengths = [each.shape[1] for each in present for _ in range(each.shape[0])]
    flat = np.concatenate([np.empty(0, np.float32), *(x.ravel() for x in present)])
    states = pa.ListArray.from_arrays(_offsets(lengths), pa.array(flat, pa.float32()))
    return pa.ListArray.from_arrays(
        _offsets([0 if each is None else len(each) for each in gates]),
        states,
        mask=pa.array([each is None for each in gates]),
    )


def _offsets(lengths: Sequence[int]) -> Any:
    return pa.array(np.cumsum([0, *lengths]), pa.int32())


def _sha256(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
