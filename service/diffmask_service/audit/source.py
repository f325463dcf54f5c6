"""The input of an audit: one file or a saved data set, read as often as needed."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from diffmask_service.audit.readers import (
    read_arrow,
    read_csv,
    read_jsonl,
    read_parquet,
)
from diffmask_service.audit.rows import Columns, Record, Row, to_row
from diffmask_service.errors import InvalidInput

_Reader: TypeAlias = Callable[[Path, Sequence[str]], Iterator[Record]]
_READER_BY_SUFFIX: Mapping[str, _Reader] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
# Each is a group of figures, and in memory while the figures are counted.
_MAX_SLICES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An input whose columns are there.

    Attributes:
        path: The file or folder, for messages.
        files: What holds the rows, in order.
        columns: Which columns to read.
        digest: sha256 of the files' content, hex.
        num_rows: Rows that it holds, malformed ones counted.
        stamps: When each file was last written, and how large it is.
    """

    path: Path
    files: tuple[Path, ...]
    columns: Columns
    digest: str
    num_rows: int
    stamps: tuple[tuple[int, int], ...]

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from another input, as JSON values."""
        return {
            "input_sha256": self.digest,
            "num_input_rows": self.num_rows,
            "columns": asdict(self.columns),
        }

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows in order, from a position on."""
        for number, record in enumerate(_records(self.files, self.columns)):
            if number >= start:
                yield to_row(record, self.columns, number=number)

    def check_content(self) -> None:
        """Refuse files that are not the ones that were opened, on another machine.

        Raises:
            InvalidInput: They are missing here, or others.
        """
        try:
            digest = _digest(self.files)
        except OSError as error:
            raise InvalidInput(
                f"{self.path}: cannot be read by a worker ({error.strerror}); put it"
                " where every machine finds it under this path"
            ) from error
        if digest != self.digest:
            raise InvalidInput(
                f"{self.path}: is another file for a worker; put the same one where"
                " every machine finds it under this path"
            )

    def check_unchanged(self) -> None:
        """Refuse to go on with files that were written to since they were opened.

        Raises:
            InvalidInput: One was; rows read since may be of another input.
        """
        if _stamps(self.files) != self.stamps:
            raise InvalidInput(
                f"{self.path}: was changed while it was audited; audit a copy that"
                " nobody writes to, into a new folder"
            )


def open_source(path: Path, columns: Columns) -> Source:
    """Return an input, once it has been read through.

    Args:
        path: A `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.parquet` or `.arrow` file, or a
            folder that `datasets.Dataset.save_to_disk` wrote.
        columns: Which columns to read.

    Raises:
        InvalidInput: It is none of these, cannot be read, holds no row, or its slices
            are too many to be told apart.
    """
    files = _data_files(path) if path.is_dir() else (path,)
    stamps = _stamps(files)
    if not any(size for _, size in stamps):
        raise InvalidInput(f"{path}: is empty; give a file with a text a row")
    num_rows = _count(files, columns)
    if not num_rows:
        raise InvalidInput(f"{path}: holds no rows; give a file with a text a row")
    return Source(
        path=path,
        files=files,
        columns=columns,
        digest=_digest(files),
        num_rows=num_rows,
        stamps=stamps,
    )


def _records(files: Sequence[Path], columns: Columns) -> Iterator[Record]:
    for file in files:
        reader = _READER_BY_SUFFIX.get(file.suffix)
        if reader is None:
            raise InvalidInput(
                f"{file}: is of no known kind; give a file that ends in"
                f" {', '.join(_READER_BY_SUFFIX)}, or a saved data set's folder"
            )
        yield from reader(file, columns.names)


def _count(files: Sequence[Path], columns: Columns) -> int:
    num_rows, slices = 0, set[str]()
    for record in _records(files, columns):
        if columns.slice is not None:
            name = to_row(record, columns, number=num_rows).slice
            slices.update([] if name is None else [name])
        num_rows += 1
        # Found at the end, this would cost all the answers.
        if len(slices) > _MAX_SLICES:
            raise InvalidInput(
                f"--slice-column: {columns.slice!r} has more than {_MAX_SLICES} values;"
                " name one that parts the texts into fewer groups"
            )
    return num_rows


def _data_files(path: Path) -> tuple[Path, ...]:
    if (path / "dataset_dict.json").exists():
        splits = sorted(each.name for each in path.iterdir() if each.is_dir())
        raise InvalidInput(
            f"{path}: holds several data sets; name one of them:"
            f" {', '.join(str(path / name) for name in splits)}"
        )
    try:
        state: Any = json.loads((path / "state.json").read_bytes())
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"{path}: is a folder, but not one that Dataset.save_to_disk wrote"
        ) from error
    if not names or any(Path(name).name != name for name in names):
        raise InvalidInput(f"{path}/state.json: names no data files of its folder")
    return tuple(path / name for name in names)


def _stamps(files: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    try:
        found = [file.stat() for file in files]
    except OSError as error:
        raise InvalidInput(
            f"{error.filename}: cannot be read ({error.strerror})"
        ) from error
    return tuple((each.st_mtime_ns, each.st_size) for each in found)


def _digest(files: Sequence[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()
