"""One row of a file to a record, by task; what is wrong is named with its place."""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from diffmask_service.bundle import TaskName
from diffmask_training.errors import DataError
from diffmask_training.records.values import Answer, Columns, Label, Record, WordTag

# Row, its place, label names, column names.
RowReader: TypeAlias = Callable[
    [Mapping[str, Any], str, Sequence[str], Columns], Record
]
# Between the labels of one text in a delimited file.
_LABEL_SEPARATOR = ";"


def row_reader(task: TaskName) -> RowReader:
    """Return what makes a record of a row in the data of a task."""
    return _READER_BY_TASK[task]


def text_in(parent: Mapping[str, Any], key: str, where: str) -> str:
    """Return a text that is not empty.

    Raises:
        DataError: There is none.
    """
    value = parent.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {key!r} must be a text that is not empty")
    _refuse_halves(value, key, where)
    return value


def answer_in(context: str, text: Any, start: Any, where: str) -> Answer:
    """Return an answer that was seen to stand in its context.

    Raises:
        DataError: It does not.
    """
    if not isinstance(text, str) or not text or type(start) is not int or start < 0:
        raise DataError(
            f"{where}: an answer needs a text that is not empty and the offset at which"
            f" it starts, not {text!r} and {start!r}"
        )
    if context[start : start + len(text)] != text:
        raise DataError(
            f"{where}: the answer {text!r} does not stand at offset {start} of its"
            f" context, where {context[start : start + len(text)]!r} does"
        )
    return Answer(text=text, start=start)


def _of_text(read_label: Callable[[Any, str, Sequence[str]], Label]) -> RowReader:
    def read(
        row: Mapping[str, Any], where: str, labels: Sequence[str], columns: Columns
    ) -> Record:
        pair = text_in(row, columns.text_pair, where) if columns.text_pair else None
        return Record(
            text=text_in(row, columns.text, where),
            text_pair=pair,
            label=read_label(row.get(columns.label), where, labels)
            if columns.label
            else None,
        )

    return read


def _of_words(
    row: Mapping[str, Any], where: str, labels: Sequence[str], columns: Columns
) -> Record:
    if columns.text_pair:
        raise DataError(
            f"{where}: token classification takes single texts; leave --pair-column out"
        )
    words = _strings(row.get(columns.text), columns.text, where)
    text = " ".join(words)
    if not columns.label:
        return Record(text=text)
    tags = _several(row.get(columns.label), columns.label, where, separator=None)
    if len(tags) != len(words):
        raise DataError(f"{where}: {len(words)} words and {len(tags)} tags")
    starts = itertools.accumulate((len(word) + 1 for word in words[:-1]), initial=0)
    return Record(
        text=text,
        label=tuple(
            WordTag(start=start, index=_index(tag, where, labels))
            for start, tag in zip(starts, tags, strict=True)
        ),
    )


def _of_question(
    row: Mapping[str, Any], where: str, labels: Sequence[str], columns: Columns
) -> Record:
    del labels  # an answer is text
    if not columns.text_pair:
        raise DataError(
            f"{where}: question answering needs the column of the context; name it with"
            " --pair-column"
        )
    context = text_in(row, columns.text_pair, where)
    return Record(
        text=text_in(row, columns.text, where),
        text_pair=context,
        label=_answers(row.get(columns.label), where, context)
        if columns.label
        else None,
    )


def _answers(value: Any, where: str, context: str) -> tuple[Answer, ...]:
    # A list of answers, as in SQuAD, or its columns, as many tools write it.
    value = _decoded(value, where)
    if isinstance(value, Mapping):
        texts, starts = value.get("text"), value.get("answer_start")
        if not (
            isinstance(texts, list)
            and isinstance(starts, list)
            and len(texts) == len(starts)
        ):
            raise DataError(f"{where}: answers need as many 'text' as 'answer_start'")
        value = [
            {"text": text, "answer_start": start}
            for text, start in zip(texts, starts, strict=True)
        ]
    if not isinstance(value, list):
        raise DataError(
            f"{where}: a question needs a list of its answers, an empty one if it has"
            " none"
        )
    if not all(isinstance(item, Mapping) for item in value):
        raise DataError(f"{where}: an answer must have 'text' and 'answer_start'")
    return tuple(
        answer_in(context, item.get("text"), item.get("answer_start"), where)
        for item in value
    )


def _decoded(value: Any, where: str) -> Any:
    # A cell of a delimited file holds structured values as JSON.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: answers are not valid JSON ({error.msg})") from error


def _refuse_halves(text: str, key: str, where: str) -> None:
    # JSON can spell half of a character that UTF-16 writes in two: of an emoji, say,
    # that was cut through. No tokenizer takes it.
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: {key!r} holds {text[error.start]!r}, half of a character; mend"
            " the text or leave it out"
        ) from error


def _strings(value: Any, column: str, where: str) -> list[str]:
    words: list[Any] = _several(value, column, where, separator=None)
    wrong = [w for w in words if not isinstance(w, str) or w.split() != [w]]
    if wrong or not words:
        raise DataError(
            f"{where}: {column!r} must hold words without blanks, at least one"
            + (f", not {wrong[0]!r}" if wrong else "")
        )
    _refuse_halves("".join(words), column, where)
    return words


def _several(value: Any, column: str, where: str, *, separator: str | None) -> Any:
    # JSON has lists; in a delimited file they are strung together.
    if isinstance(value, str):
        return [part for part in value.split(separator) if part]
    if not isinstance(value, list):
        raise DataError(f"{where}: {column!r} must be a list, not {value!r}")
    return value


def _index(value: Any, where: str, labels: Sequence[str]) -> int:
    # JSON has numbers where a delimited file has their digits.
    name = str(value) if type(value) is int else value
    names, indices = list(labels), [str(index) for index in range(len(labels))]
    if name in names:
        return names.index(name)
    # Of 1 to 3 stars, "2" may be the second or the third: there names alone count.
    if any(label in indices and names[int(label)] != label for label in names):
        raise DataError(
            f"{where}: label {value!r} is none of {names}; where names are numbers, an"
            " index would be taken for one of them, so write the name"
        )
    if isinstance(name, str) and name.strip() in indices:
        return int(name)
    raise DataError(
        f"{where}: label {value!r} is out of range; use one of {names} or an index from"
        f" 0 to {len(names) - 1}"
    )


def _indices(value: Any, where: str, labels: Sequence[str]) -> frozenset[int]:
    names = _several(value, "label", where, separator=_LABEL_SEPARATOR)
    stripped = [name.strip() if isinstance(name, str) else name for name in names]
    return frozenset(_index(name, where, labels) for name in stripped)


def _number(value: Any, where: str, labels: Sequence[str]) -> float:
    del labels  # a value has none
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: label {value!r} is not a finite number")
    return number


_READER_BY_TASK: Mapping[TaskName, RowReader] = {
    "text_classification": _of_text(_index),
    "multi_label_classification": _of_text(_indices),
    "regression": _of_text(_number),
    "token_classification": _of_words,
    "question_answering": _of_question,
}
