"""Rows that an audit wrote, and what they say; a part in memory at a time."""

import io
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diffmask_service.audit.answering import Answer
from diffmask_service.audit.rows import Row
from diffmask_service.audit.table import Audited, encode_part
from diffmask_service.core.values import ModelDescription, ModelIdentity, TextInput
from diffmask_service.errors import InvalidInput

_MODEL = ("model_id", "model_digest", "model_version", "precision")
_OF_INPUT = ("row", "id", "text", "text_pair", "label", "slice", "rationale")
_REQUIRED = ("row", "id", "text", "text_pair", "error_kind", "tokens")
_ROWS_PER_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRows:
    """The rows of an audit, or of one of its parts.

    Attributes:
        path: The audit's folder or the part, for messages.
        parts: The files, in order.
        numbers: The rows of each part, by their position in the audit's input.
        model: Who answered.
    """

    path: Path
    parts: tuple[Path, ...]
    numbers: tuple[range, ...]
    model: ModelIdentity

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return sum(map(len, self.numbers))

    def sample(self, num_rows: int, *, seed: int) -> frozenset[int]:
        """Return the numbers of some rows, or of all where there are no more.

        Args:
            num_rows: How many, >= 0.
            seed: Decides which.
        """
        whole = range(self.num_rows)
        chance = random.Random(seed)  # noqa: S311, a sample is no secret
        positions = frozenset(chance.sample(whole, min(num_rows, len(whole))))
        numbers = itertools.chain.from_iterable(self.numbers)
        return frozenset(x for at, x in enumerate(numbers) if at in positions)

    def read(self, chosen: frozenset[int] | None) -> Iterator[Sequence["RecordedRow"]]:
        """Yield rows, some at a time, in order.

        Args:
            chosen: Numbers of the rows; None for all.

        Raises:
            InvalidInput: A part cannot be read.
        """
        for path, numbers in zip(self.parts, self.numbers, strict=True):
            if chosen is None or not chosen.isdisjoint(numbers):
                yield from _read(path, chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRow:
    """One row.

    Attributes:
        number: Its position in the audit's input, from 0.
        name: What it is known by in messages.
        input: What was explained; None for a row without an explanation.
        said: What the model said of it, by the names of the columns.
    """

    number: int
    name: str
    input: TextInput | None
    said: Mapping[str, Any]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens, as the vocabulary spells them."""
        return tuple(self.said["tokens"])


def open_rows(path: Path) -> RecordedRows:
    """Return the rows of an audit.

    Args:
        path: Its folder, or one of its parts.

    Raises:
        InvalidInput: It is neither, cannot be read, or holds no texts.
    """
    is_folder = path.is_dir()
    parts = sorted((path / "parts").glob("part-*.parquet")) if is_folder else [path]
    if not parts:
        raise InvalidInput(f"{path}: is not the folder of an audit, or holds no rows")
    numbers, models = [], []
    for part in parts:
        with _reading(part) as file:
            first = next(file.iter_batches(1, columns=["row", *_MODEL])).to_pylist()[0]
            start = first["row"]
            numbers.append(range(start, start + file.metadata.num_rows))
            models.append(tuple(first[name] for name in _MODEL))
    identity, digest, version, precision = models[0]
    return RecordedRows(
        path=path,
        parts=tuple(parts),
        numbers=tuple(numbers),
        model=ModelIdentity(
            id=identity, version=version, digest=digest, precision=precision
        ),
    )


def say_again(
    row: RecordedRow, answer: Answer, model: ModelDescription
) -> Mapping[str, Any]:
    """Return what a new answer says, by the names of the columns.

    Args:
        row: What was answered.
        answer: The answer.
        model: Who answered.
    """
    again = Row(number=row.number, id=row.name, input=row.input)
    audited = [Audited(row=again, answer=answer)]
    part = io.BytesIO(encode_part(audited, model, hash_texts=False))
    (written,) = pq.read_table(part).to_pylist()
    return _said(written)


def _read(path: Path, chosen: frozenset[int] | None) -> Iterator[list[RecordedRow]]:
    with _reading(path) as file:
        for batch in file.iter_batches(_ROWS_PER_BATCH):
            rows = batch.to_pylist()
            yield [
                _to_recorded(row)
                for row in rows
                if chosen is None or row["row"] in chosen
            ]


def _to_recorded(row: Mapping[str, Any]) -> RecordedRow:
    number, name = row["row"], f"row {row['row']} (id {row['id']})"
    if row["error_kind"] is not None:
        return RecordedRow(number=number, name=name, input=None, said={})
    return RecordedRow(
        number=number,
        name=name,
        input=TextInput(text=row["text"], text_pair=row["text_pair"]),
        said=_said(row),
    )


def _said(row: Mapping[str, Any]) -> Mapping[str, Any]:
    # Who answered is compared once for all rows.
    return {name: row[name] for name in row if name not in (*_OF_INPUT, *_MODEL)}


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "text_sha256" in names:
                raise InvalidInput(
                    f"{path}: holds hashes of the texts, which cannot be explained"
                    " again; replay an audit without --hash-texts"
                )
            if not {*_REQUIRED, *_MODEL} <= set(names):
                raise InvalidInput(f"{path}: is not a part of an audit")
            yield file
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror or error})"
        ) from error
    except pa.ArrowException as error:
        raise InvalidInput(f"{path}: cannot be read ({error})") from error
