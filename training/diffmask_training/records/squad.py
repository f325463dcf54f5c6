"""Questions in the JSON layout of SQuAD, 1.1 and 2.0."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffmask_training.errors import DataError
from diffmask_training.records.rows import answer_in, text_in
from diffmask_training.records.values import Record


def read_squad(text: str, path: Path) -> Iterator[Record]:
    """Yield every question of a file with its context and right answers.

    Args:
        text: Content of the file.
        path: Its name, for error messages.

    Raises:
        DataError: It is not in this layout, or an answer does not stand in its context;
            the message names the place.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg})"
        ) from error
    for article, where in _items(content, "data", str(path)):
        for paragraph, place in _items(article, "paragraphs", where):
            context = text_in(paragraph, "context", place)
            for question, spot in _items(paragraph, "qas", place):
                yield _record(question, context, spot)


def _record(question: Mapping[str, Any], context: str, where: str) -> Record:
    answers = tuple(
        answer_in(context, answer.get("text"), answer.get("answer_start"), place)
        for answer, place in _items(question, "answers", where)
    )
    return Record(
        text=text_in(question, "question", where), text_pair=context, label=answers
    )


def _items(
    parent: Any, key: str, where: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    children = parent.get(key) if isinstance(parent, Mapping) else None
    if not isinstance(children, list):
        raise DataError(f"{where}: no list {key!r}; the file is not in SQuAD's layout")
    for number, child in enumerate(children):
        place = f"{where}, {key}[{number}]"
        if not isinstance(child, Mapping):
            raise DataError(f"{place}: expected a JSON object")
        yield child, place
