"""Records: labelled texts read from CSV, TSV, JSON lines or treebank files.

First step of the data flow. A record that leaves this module has a non-empty text and a
label index inside the label list; everything after it trusts that. The standard library
reads the rows, because every error has to name the file and the line.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffmask_training.datasets_source import is_dataset, open_rows
from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.sst import read_trees


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One labelled text or text pair.

    Attributes:
        text: The text, not empty.
        text_pair: The second text of a pair, or None.
        label: Index into the label list, or None in unlabelled data.
    """

    text: str
    text_pair: str | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a CSV, TSV or JSON lines file hold what.

    Attributes:
        text: Column of the text.
        text_pair: Column of the second text; empty for single texts.
        label: Column of the label; empty for unlabelled data.
    """

    text: str = "text"
    text_pair: str = ""
    label: str = "label"


def read_records(
    path: Path, *, labels: Sequence[str], columns: Columns, phrases: bool = False
) -> Sequence[Record]:
    """Read every record of a file.

    The format follows the name: `.csv`, `.tsv`, `.jsonl`, or `.txt` for bracketed
    sentiment trees, each also with `.gz` behind it. A `.parquet` file, or a folder that
    `datasets` saved, is not read at once: its records are made when they are asked for,
    and a malformed row is found then.

    Args:
        path: The file.
        labels: Label names in index order. A row may hold the name or the index. For
            trees, two labels mean negative and positive without the neutral roots, five
            mean the tree's own classes.
        columns: Column names; not used for trees.
        phrases: For trees, whether to add every labelled phrase, each distinct text
            once.

    Raises:
        DataError: The file is missing, empty, of an unknown format, or has a malformed
            row; the message names file and line.
    """
    if is_dataset(path):
        return _dataset(path, labels, columns)
    suffix = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    readers: Mapping[str, Callable[[str], Iterator[Record]]] = {
        "csv": lambda text: _delimited(text, path, labels, columns, ","),
        "tsv": lambda text: _delimited(text, path, labels, columns, "\t"),
        "jsonl": lambda text: _json_lines(text, path, labels, columns),
        "txt": lambda text: _trees(text, path, labels, phrases=phrases),
    }
    if suffix not in readers:
        raise DataError(
            f"{path}: unknown data format {suffix!r}; use .csv, .tsv, .jsonl, or .txt"
            " for sentiment trees, each optionally with .gz, .parquet, or the folder"
            " of a saved dataset"
        )
    records = list(readers[suffix](_read_text(path)))
    if not records:
        raise DataError(f"{path}: holds no records")
    return records


def _dataset(path: Path, labels: Sequence[str], columns: Columns) -> Sequence[Record]:
    needed = [c for c in (columns.text, columns.text_pair, columns.label) if c]
    return MadeWhenAsked(
        open_rows(path, needed),
        lambda row: _record(row.values, row.where, labels, columns),
    )


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if path.name.endswith(".gz"):
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise DataError(f"{path}: not a complete gzip file ({error})") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: not valid UTF-8; convert the file to UTF-8"
        ) from error


def _delimited(
    text: str, path: Path, labels: Sequence[str], columns: Columns, delimiter: str
) -> Iterator[Record]:
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True
    )
    needed = [c for c in (columns.text, columns.text_pair, columns.label) if c]
    missing = [c for c in needed if c not in (reader.fieldnames or [])]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {missing[0]!r} among"
            f" {list(reader.fieldnames or [])}; name the right one with --columns"
        )
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(
                    f"{where}: the row does not have {len(reader.fieldnames or [])}"
                    f" fields"
                )
            yield _record(row, where, labels, columns)
    except csv.Error as error:
        line = reader.reader.line_num
        raise DataError(f"{path}, line {line}: {error}") from error


def _json_lines(
    text: str, path: Path, labels: Sequence[str], columns: Columns
) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not valid JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise DataError(
                f"{where}: expected a JSON object, found {type(row).__name__}"
            )
        yield _record(row, where, labels, columns)


def _record(
    row: Mapping[str, Any], where: str, labels: Sequence[str], columns: Columns
) -> Record:
    return Record(
        text=_text(row, columns.text, where),
        text_pair=_text(row, columns.text_pair, where) if columns.text_pair else None,
        label=_label(row, columns.label, where, labels) if columns.label else None,
    )


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {column!r} must be a text that is not empty")
    return value


def _label(
    row: Mapping[str, Any], column: str, where: str, labels: Sequence[str]
) -> int:
    value = row.get(column)
    if isinstance(value, str) and value in labels:
        return list(labels).index(value)
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            index = int(value)
        except ValueError:
            index = -1
        if 0 <= index < len(labels):
            return index
    raise DataError(
        f"{where}: label {value!r} is out of range; use one of {list(labels)} or an"
        f" index"
        f" from 0 to {len(labels) - 1}"
    )


def _trees(
    text: str, path: Path, labels: Sequence[str], *, phrases: bool
) -> Iterator[Record]:
    # Socher et al. 2013: five classes, the middle one neutral. The binary task leaves
    # neutral sentences and phrases out.
    index_by_class: dict[int, int]
    if len(labels) == 2:
        index_by_class = {0: 0, 1: 0, 3: 1, 4: 1}
    elif len(labels) == 5:
        index_by_class = {c: c for c in range(5)}
    else:
        raise DataError(
            f"{path}: sentiment trees have 2 or 5 labels, the recipe names"
            f" {len(labels)}"
        )
    seen: set[str] = set()
    for nodes in read_trees(text, path):
        for position, node in enumerate(nodes):
            is_root = position == 0
            if node.sentiment not in index_by_class or (not is_root and not phrases):
                continue
            if phrases and node.text in seen:
                continue
            seen.add(node.text)
            yield Record(text=node.text, label=index_by_class[node.sentiment])
