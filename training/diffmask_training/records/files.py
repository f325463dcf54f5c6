"""Files of records: CSV, TSV, JSON lines, SQuAD's JSON and sentiment trees.

Each is held in memory, or its records are made when they are asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from diffmask_service.bundle import TaskName
from diffmask_training.datasets_source import is_dataset, open_rows
from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records.content import Content, open_content, whole_text
from diffmask_training.records.row_files import ReadRow, RowFile, delimited_file
from diffmask_training.records.rows import row_reader
from diffmask_training.records.squad import read_squad
from diffmask_training.records.values import Columns, Record
from diffmask_training.sst import read_trees

# Rows of up to so many bytes take about a gigabyte once they are tokenised.
MAX_HELD_BYTES = 32 * 2**20
_DELIMITER_BY_SUFFIX = {"csv": ",", "tsv": "\t"}
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
    max_held_bytes: int = MAX_HELD_BYTES,
) -> Sequence[Record]:
    """Read every record of a file.

    The format follows the name: `.csv`, `.tsv`, `.jsonl`, `.json` for questions in the
    layout of SQuAD, or `.txt` for bracketed sentiment trees, each also with `.gz`
    behind it. Of a large file of rows the records are made when they are asked for; the
    file must not be changed before the last of them was. A `.parquet` file, or a folder
    that `datasets` saved, is never read at once, and a malformed row of it is found
    when it is asked for. What the label column of rows holds is the task's choice:

    - text classification: the name of the label or its index; where names are numbers
      that could be indices of others, such as 1 to 5 stars, the name alone;
    - several labels at once: a list of them, in a delimited file with `;` between;
    - regression: a number;
    - token classification: a list with the label of each word, the text column being
      the list of words; in a delimited file both with blanks between;
    - question answering: a list of answers, each with `text` and `answer_start`, empty
      where the context does not answer.

    Args:
        path: The file.
        labels: Label names in index order. For trees, two labels mean negative and
            positive without the neutral roots, five mean the tree's own classes.
        columns: Column names; not used for trees and for SQuAD's layout.
        task: What the labels are for.
        phrases: For trees, whether to add every labelled phrase, each distinct text
            once.
        max_held_bytes: Rows of a larger file are not held in memory. The other formats
            are, whatever their size.

    Raises:
        DataError: The file is missing, empty, of a format that is unknown or of another
            task, or has a malformed row; the message names file and line.
    """

    def read_row(row: Mapping[str, object], where: str) -> Record:
        return row_reader(task)(row, where, labels, columns)

    if is_dataset(path):
        return _dataset(path, columns, read_row)
    suffix = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if suffix not in {*_DELIMITER_BY_SUFFIX, "jsonl", *_TASK_BY_SUFFIX}:
        raise DataError(
            f"{path}: unknown data format {suffix!r}; use .csv, .tsv, .jsonl, .json for"
            " SQuAD's layout or .txt for sentiment trees, each optionally with .gz,"
            " .parquet, or the folder of a saved dataset"
        )
    only = _TASK_BY_SUFFIX.get(suffix, task)
    if only != task:
        raise DataError(f"{path}: a .{suffix} file is for {only}, the model for {task}")
    content = open_content(path)
    records: Sequence[Record]
    if suffix == "json":
        records = list(read_squad(whole_text(content, path), path))
    elif suffix == "txt":
        text = whole_text(content, path)
        records = list(_trees(text, path, labels, phrases=phrases))
    else:
        file = _row_file(path, content, columns, suffix)
        is_held = len(content) <= max_held_bytes
        records = list(file.records(read_row)) if is_held else file.indexed(read_row)
    if not records:
        raise DataError(f"{path}: holds no records")
    return records


def _row_file(path: Path, content: Content, columns: Columns, suffix: str) -> RowFile:
    if suffix == "jsonl":
        return RowFile(path=path, content=content)
    return delimited_file(path, content, columns, _DELIMITER_BY_SUFFIX[suffix])


def _dataset(path: Path, columns: Columns, read_row: ReadRow) -> Sequence[Record]:
    rows = open_rows(path, columns.needed)
    return MadeWhenAsked(rows, lambda row: read_row(row.values, row.where))


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
