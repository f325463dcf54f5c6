"""Rows of Parquet files and of saved datasets, through the `datasets` library.

They are read from memory-mapped Arrow tables, a row when it is asked for, so that texts
need not fit into memory. CSV, TSV and JSON lines are read by the standard library, in
`records.row_files`: there every error names the line, which this library does not know.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        values: By column.
        where: File and row, counted from 1.
    """

    values: Mapping[str, Any]
    where: str


def is_dataset(path: Path) -> bool:
    """Return whether a path is a Parquet file or a folder, as datasets are saved."""
    return path.suffix == ".parquet" or path.is_dir()


def open_rows(path: Path, needed: Sequence[str]) -> Sequence[Row]:
    """Open a Parquet file, or a folder that `Dataset.save_to_disk` wrote.

    Args:
        path: The file or folder.
        needed: Columns that it must have.

    Raises:
        DataError: It is missing, not a dataset, empty, or lacks a column.
    """
    table = _open(path)
    missing = [column for column in needed if column not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: no column {missing[0]!r} among {table.column_names}; name the"
            " right one with --text-column, --pair-column or --label-column, which is"
            " '' for texts without labels"
        )
    if len(table) == 0:
        raise DataError(f"{path}: holds no records")
    table = table.select_columns(list(needed))

    def row(index: int) -> Row:
        return Row(values=table[index], where=f"{path}, row {index + 1}")

    return MadeWhenAsked(range(len(table)), row)


def _open(path: Path) -> Any:
    if not path.exists():
        raise DataError(f"{path}: cannot be read (no such file or folder)")
    try:
        datasets: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise DataError(
            f"{path}: needs the package datasets; install the training extra"
        ) from error
    datasets.disable_progress_bars()
    try:
        if path.is_dir():
            opened = datasets.load_from_disk(str(path))
        else:
            opened = datasets.Dataset.from_parquet(str(path))
    except (OSError, ValueError, datasets.exceptions.DatasetGenerationError) as error:
        raise DataError(f"{path}: not a dataset ({error})") from error
    if isinstance(opened, datasets.DatasetDict):
        raise DataError(
            f"{path}: holds the splits {', '.join(opened)}; name one of their folders"
        )
    return opened
