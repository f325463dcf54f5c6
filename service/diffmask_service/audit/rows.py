"""Rows of an audit: what a file's record means, or why it means nothing."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import msgspec

from diffmask_service.core.values import TextInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A place in a file that holds no record.

    Attributes:
        problem: What is wrong with it; never its content.
    """

    problem: str


# One record by the names of its columns.
Record: TypeAlias = Mapping[str, Any] | Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns of a file that an audit reads.

    Attributes:
        text: The text, or the question.
        pair: The second text of a pair, or the context; None for single texts.
        label: The true label, for accuracy; None for none.
        slice: What parts the texts into groups that are reported apart; None for none.
        rationale: Passed on as it is; None for none.
        id: What a row is known by; None for its number.
    """

    text: str = "text"
    pair: str | None = None
    label: str | None = None
    slice: str | None = None
    rationale: str | None = None
    id: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that was named, each once."""
        named = (getattr(self, field.name) for field in fields(self))
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the input.

    What the input leaves empty is None.

    Attributes:
        number: Its position in the input, from 0.
        id: What it is known by.
        input: What to explain; None where the row cannot be explained.
        label: The true label, as written.
        slice: Its group.
        rationale: As written, JSON where it was not a string.
        problem: Why it cannot be explained; empty where it can.
    """

    number: int
    id: str
    input: TextInput | None
    label: str | None = None
    slice: str | None = None
    rationale: str | None = None
    problem: str = ""


def to_row(record: Record, columns: Columns, *, number: int) -> Row:
    """Return what a record means.

    Args:
        record: A record, or what stands in its place.
        columns: Where to look.
        number: Its position in the input, from 0.
    """
    if isinstance(record, Malformed):
        return Row(number=number, id=str(number), input=None, problem=record.problem)

    def written(name: str | None) -> str | None:
        value = None if name is None else record.get(name)
        return None if _is_missing(value) else _encodable(_written(value))

    name = written(columns.id)
    problem = _problem(record, columns)
    return Row(
        number=number,
        id=str(number) if name is None else name,
        input=None
        if problem
        else TextInput(
            text=record[columns.text],
            text_pair=None if columns.pair is None else record[columns.pair],
        ),
        label=written(columns.label),
        slice=written(columns.slice),
        rationale=written(columns.rationale),
        problem=problem,
    )


def _problem(record: Mapping[str, Any], columns: Columns) -> str:
    for column in (columns.text, columns.pair):
        if column is None:
            continue
        value = record.get(column)
        if value is None:
            return f"column {column!r} is empty"
        if not isinstance(value, str):
            return f"column {column!r} holds {type(value).__name__}, not text"
        if _encodable(value) != value:
            return f"column {column!r} holds bytes that are not UTF-8"
        if not value.strip():
            return f"column {column!r} is empty"
    return ""


def _is_missing(value: Any) -> bool:
    # CSV has no other way to leave a cell out, nor have tables of numbers than NaN.
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=str).decode()


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()
