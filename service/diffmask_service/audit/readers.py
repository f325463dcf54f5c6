"""Readers of files, one a format: a path to records, a few of them in memory at a time.

A record that cannot be read stands as `Malformed` in its place, so that rows keep their
numbers. A file of which nothing further can be read is an error.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from diffmask_service.audit.rows import Malformed, Record
from diffmask_service.errors import InvalidInput

# Rows decoded at a time from files that hold them in columns.
_ROWS_PER_BATCH = 256
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# An unclosed quote would otherwise read the rest of a file into one cell.
_MAX_CELL_CHARACTERS = 2**20


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a CSV file with a header; `.tsv` has tabs for commas.

    Raises:
        InvalidInput: It cannot be read, lacks a column, or its quotes do not match.
    """
    delimiter = "\t" if path.suffix == ".tsv" else ","
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    _refuse_utf_16(path)
    # Bytes that are not UTF-8 become half surrogates, which are found row by row.
    with (
        _reading(path),
        path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream,
    ):
        lines = csv.reader(stream, delimiter=delimiter, strict=True)
        try:
            header = next(lines, [])
            require_columns(path, columns, header)
            for cells in lines:
                if len(cells) == len(header):
                    yield dict(zip(header, cells, strict=True))
                elif cells:
                    yield Malformed(
                        problem=f"line {lines.line_num} has {len(cells)} cells, the"
                        f" header {len(header)}"
                    )
        except csv.Error as error:
            raise InvalidInput(
                f"{path}, line {lines.line_num}: cannot be read as CSV ({error}); a"
                " quote that is not closed is the usual cause"
            ) from error


def read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a file with one JSON object a line.

    Raises:
        InvalidInput: It cannot be read, or none of its objects has a column.
    """
    _refuse_utf_16(path)
    first: tuple[str, ...] = ()
    unseen = set(columns)
    with _reading(path), path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            record = _parse(line.removeprefix(b"\xef\xbb\xbf"), number)
            if record is None:
                continue
            # What an object has nothing to say of may be left out of it.
            if unseen and not isinstance(record, Malformed):
                first = first or tuple(record)
                unseen.difference_update(record)
            yield record
    if unseen and first:
        require_columns(path, [each for each in columns if each in unseen], first)


def read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the records of a Parquet file.

    Raises:
        InvalidInput: It cannot be read or lacks a column.
    """
    with _reading(path), pq.ParquetFile(path) as file:
        require_columns(path, columns, file.schema_arrow.names)
        for batch in file.iter_batches(_ROWS_PER_BATCH, columns=list(columns)):
            yield from batch.to_pylist()


def read_arrow(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the records of an Arrow file or stream.

    Raises:
        InvalidInput: It cannot be read or lacks a column.
    """
    with _reading(path), pa.memory_map(str(path)) as memory:
        for batch in _batches(memory):
            require_columns(path, columns, batch.schema.names)
            chosen = batch.select(list(columns))
            for start in range(0, chosen.num_rows, _ROWS_PER_BATCH):
                yield from chosen.slice(start, _ROWS_PER_BATCH).to_pylist()


def require_columns(path: Path, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Refuse a file that lacks a column.

    Raises:
        InvalidInput: It does; the message names the columns that it has.
    """
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InvalidInput(
            f"{path}: has no column {', '.join(map(repr, missing))}, only"
            f" {', '.join(map(repr, present)) or 'an empty header'}; name the columns"
            " with --text-column and its like"
        )


def _batches(memory: Any) -> Iterator[Any]:
    # `save_to_disk` writes streams; other programs write files, which have an index.
    try:
        file = pa.ipc.open_file(memory)
    except pa.ArrowInvalid:
        memory.seek(0)
        yield from pa.ipc.open_stream(memory)
        return
    for index in range(file.num_record_batches):
        yield file.get_batch(index)


def _parse(line: bytes, number: int) -> Record | None:
    if not line.strip():
        return None
    try:
        record = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Malformed(problem=f"line {number} is not JSON in UTF-8 ({error})")
    if not isinstance(record, dict):
        return Malformed(problem=f"line {number} is not a JSON object")
    return record


def _refuse_utf_16(path: Path) -> None:
    with _reading(path), path.open("rb") as stream:
        if stream.read(2) in _UTF_16:
            raise InvalidInput(f"{path}: is UTF-16; convert it to UTF-8")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror or error})"
        ) from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{path}: cannot be read ({error})") from error
