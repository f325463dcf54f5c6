"""Files of rows: CSV, TSV and JSON lines, one after the other or any at its place.

The standard library reads the rows, because every error has to name the file and the
line.
"""

import csv
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from diffmask_training.errors import DataError
from diffmask_training.made_when_asked import MadeWhenAsked
from diffmask_training.records.content import Content, Lines
from diffmask_training.records.values import Columns, Record

# The library's own limit is shorter than many a context. An unclosed quote would read
# the rest of a file into one cell.
_MAX_CELL_CHARACTERS = 2**20


class ReadRow(Protocol):
    """What makes a record of a row, given its place for error messages."""

    def __call__(self, row: Mapping[str, object], where: str, /) -> Record:
        """Return the record.

        Raises:
            DataError: The row is malformed.
        """
        ...


_Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """A file of rows.

    Attributes:
        path: Its name.
        content: What it holds.
        delimiter: What parts the fields of a delimited file; empty for JSON lines.
        fields: The names of its fields; none for JSON lines, which name them in each.
        start: Where the first row begins, bytes.
        start_line: Lines before it.
    """

    path: Path
    content: Content
    delimiter: str = ""
    fields: tuple[str, ...] = ()
    start: int = 0
    start_line: int = 0

    def records(self, read_row: ReadRow) -> Iterator[Record]:
        """Yield every record, in order.

        Raises:
            DataError: A row is malformed; the message names file and line.
        """
        lines = self._lines(self.start, self.start_line)
        for row in self._rows(lines):
            yield read_row(row, self._where(lines))

    def indexed(self, read_row: ReadRow) -> Sequence[Record]:
        """Return the records to be made when they are asked for.

        The file is read through once, so that a malformed row is found here. What is
        kept of each is its place: 16 bytes.

        Raises:
            DataError: A row is malformed; the message names file and line.
        """
        positions, numbers = array("q"), array("q")
        lines = self._lines(self.start, self.start_line)
        place = (lines.position, lines.number)
        for row in self._rows(lines):
            read_row(row, self._where(lines))
            positions.append(place[0])
            numbers.append(place[1])
            place = (lines.position, lines.number)

        def record(index: int) -> Record:
            lines = self._lines(positions[index], numbers[index])
            row = next(self._rows(lines))
            return read_row(row, self._where(lines))

        return MadeWhenAsked(range(len(positions)), record)

    def _lines(self, position: int, number: int) -> Lines:
        return Lines(self.content, self.path, position=position, number=number)

    def _where(self, lines: Lines) -> str:
        return f"{self.path}, line {lines.number}"

    def _rows(self, lines: Lines) -> Iterator[_Row]:
        # A row is yielded before any line behind it is read: `lines` tells its end.
        return self._delimited(lines) if self.delimiter else self._json(lines)

    def _delimited(self, lines: Lines) -> Iterator[_Row]:
        reader = csv.DictReader(
            lines, self.fields, delimiter=self.delimiter, strict=True
        )
        try:
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{self._where(lines)}: the row does not have"
                        f" {len(self.fields)} fields"
                    )
                yield row
        except csv.Error as error:
            raise _unreadable(self._where(lines), error) from error

    def _json(self, lines: Lines) -> Iterator[_Row]:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{self._where(lines)}: not valid JSON ({error.msg})"
                ) from error
            if not isinstance(row, dict):
                raise DataError(
                    f"{self._where(lines)}: expected a JSON object, found"
                    f" {type(row).__name__}"
                )
            yield row


def delimited_file(
    path: Path, content: Content, columns: Columns, delimiter: str
) -> RowFile:
    """Read the header of a delimited file.

    Args:
        path: Its name.
        content: What it holds.
        columns: Column names, which the header must have.
        delimiter: What parts its fields.

    Raises:
        DataError: The header lacks a column.
    """
    lines = Lines(content, path)
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    try:
        header = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise _unreadable(f"{path}, line {lines.number}", error) from error
    missing = [column for column in columns.needed if column not in header]
    if missing:
        raise DataError(
            f"{path}, line 1: no column {missing[0]!r} among {header}; name the right"
            " one with --text-column, --pair-column or --label-column, which is '' for"
            " texts without labels"
        )
    return RowFile(
        path=path,
        content=content,
        delimiter=delimiter,
        fields=tuple(header),
        start=lines.position,
        start_line=lines.number,
    )


def _unreadable(where: str, error: csv.Error) -> DataError:
    return DataError(
        f"{where}: {error}; a quote that is not closed is the usual cause, or a text of"
        f" over {_MAX_CELL_CHARACTERS} characters, which .jsonl can hold"
    )
