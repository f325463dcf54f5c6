"""Files of records: CSV, TSV, JSON lines, SQuAD's JSON and sentiment trees.

The standard library reads the rows, because every error has to name the file and the
line.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from diffmask_service.bundle import TaskName
from diffmask_training.datasets_source import is_dataset, open_rows
from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records.rows import row_reader
from diffmask_training.records.squad import read_squad
from diffmask_training.records.values import Columns, Record
from diffmask_training.sst import read_trees

# A row and its place to a record.
_ReadRow: TypeAlias = Callable[[Mapping[str, object], str], Record]
# Formats that hold the data of one task.
_TASK_BY_SUFFIX: Mapping[str, TaskName] = {
    "json": "question_answering",
    "txt": "text_classification",
}


def read_records(
    path: Path,
    *,
    labels: Sequence[str],
    columns: Columns,
    task: TaskName = "text_classification",
    phrases: bool = False,
) -> Sequence[Record]:
    """Read every record of a file.

    The format follows the name: `.csv`, `.tsv`, `.jsonl`, `.json` for questions in the
    layout of SQuAD, or `.txt` for bracketed sentiment trees, each also with `.gz`
    behind it. A `.parquet` file, or a folder that `datasets` saved, is not read at
    once: its records are made when they are asked for, and a malformed row is found
    then. What the label column of rows holds is the task's choice:

    - text classification: the name of the label or its index;
    - several labels at once: a list of them, in a delimited file with `;` between;
    - regression: a number;
    - token classification: a list with the label of each word, the text column being
      the list of words; in a delimited file both with blanks between;
    - question answering: a list of answers, each with `text` and `answer_start`.

    Args:
        path: The file.
        labels: Label names in index order. For trees, two labels mean negative and
            positive without the neutral roots, five mean the tree's own classes.
        columns: Column names; not used for trees and for SQuAD's layout.
        task: What the labels are for.
        phrases: For trees, whether to add every labelled phrase, each distinct text
            once.

    Raises:
        DataError: The file is missing, empty, of a format that is unknown or of another
            task, or has a malformed row; the message names file and line.
    """

    def read_row(row: Mapping[str, object], where: str) -> Record:
        return row_reader(task)(row, where, labels, columns)

    if is_dataset(path):
        return _dataset(path, columns, read_row)
    suffix = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    readers: Mapping[str, Callable[[str], Iterator[Record]]] = {
        "csv": lambda text: _delimited(text, path, columns, ",", read_row),
        "tsv": lambda text: _delimited(text, path, columns, "\t", read_row),
        "jsonl": lambda text: _json_lines(text, path, read_row),
        "json": lambda text: read_squad(text, path),
        "txt": lambda text: _trees(text, path, labels, phrases=phrases),
    }
    if suffix not in readers:
        raise DataError(
            f"{path}: unknown data format {suffix!r}; use .csv, .tsv, .jsonl, .json for"
            " SQuAD's layout or .txt for sentiment trees, each optionally with .gz,"
            " .parquet, or the folder of a saved dataset"
        )
    only = _TASK_BY_SUFFIX.get(suffix, task)
    if only != task:
        raise DataError(f"{path}: a .{suffix} file is for {only}, the model for {task}")
    records = list(readers[suffix](_read_text(path)))
    if not records:
        raise DataError(f"{path}: holds no records")
    return records


def _dataset(path: Path, columns: Columns, read_row: _ReadRow) -> Sequence[Record]:
    needed = [c for c in (columns.text, columns.text_pair, columns.label) if c]
    rows = open_rows(path, needed)
    return MadeWhenAsked(rows, lambda row: read_row(row.values, row.where))


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
    text: str, path: Path, columns: Columns, delimiter: str, read_row: _ReadRow
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
            yield read_row(row, where)
    except csv.Error as error:
        line = reader.reader.line_num
        raise DataError(f"{path}, line {line}: {error}") from error


def _json_lines(text: str, path: Path, read_row: _ReadRow) -> Iterator[Record]:
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
        yield read_row(row, where)


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
