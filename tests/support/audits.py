"""Inputs and folders of audits."""

import csv
import random
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ("good", "bad", "funny", "dull", "movie", "a")
# A server and a bundle test shortcuts in ways of their own.
_OF_THE_REPORT = {"report.html", "shortcuts.json"}


def random_texts(num_texts: int) -> list[str]:
    """Return texts of the tiny model's words, the same at every call."""
    chance = random.Random(7)
    return [
        " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))
        for _ in range(num_texts)
    ]


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write rows, the header first."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an audit's folder."""
    table: pa.Table = pq.read_table(folder / "parts")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but those that a report adds to an audit."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _OF_THE_REPORT
    }


@contextmanager
def file_limit(num_bytes: int) -> Iterator[None]:
    """Refuse what makes a file larger, with an OSError like that of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
