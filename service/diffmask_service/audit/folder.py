"""The folder of an audit: parts that are written whole, and a journal of them.

```
audit.json       what the audit is of; written first, compared by every later run
journal.jsonl    a line a part, with its rows and sha256; grows only
parts/           part-00000.parquet and so on, each whole
summary.json     figures of all parts; written last
```

A part counts once its line is in the journal whole. Whatever a killed run leaves beyond
that is written again, to the same bytes.
"""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from diffmask_service.errors import InvalidInput

_AUDIT, _JOURNAL, _SUMMARY, _PARTS = (
    "audit.json",
    "journal.jsonl",
    "summary.json",
    "parts",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part that is written.

    Attributes:
        name: Its file's.
        num_rows: Rows in it.
        num_errors: Those of them without an explanation.
        sha256: Of its file, hex.
    """

    name: str
    num_rows: int
    num_errors: int
    sha256: str


class Folder:
    """A folder that one audit writes to at a time.

    Args:
        path: Where; made where it is missing.
        identity: What the audit is of, as JSON values.

    Raises:
        InvalidInput: It belongs to something else or to another audit, is in use, was
            damaged, or cannot be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._path = path
        _make(path)
        with _writing(path), ExitStack() as closing:
            closing.enter_context(_lock(path))
            _claim(path, identity)
            (path / _PARTS).mkdir(exist_ok=True)
            # Without a buffer, which would try again at its end what failed before.
            self._journal = closing.enter_context(
                (path / _JOURNAL).open("a+b", buffering=0)
            )
            self._parts = self._read_journal()
            self._closing = closing.pop_all()

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts written so far."""
        return tuple(self._parts)

    @property
    def part_paths(self) -> tuple[Path, ...]:
        """Their files, in order."""
        return tuple(self._path / _PARTS / part.name for part in self._parts)

    def add_part(self, content: bytes, *, num_rows: int, num_errors: int) -> None:
        """Write the next part.

        Args:
            content: Its file's.
            num_rows: Rows in it.
            num_errors: Those of them without an explanation.

        Raises:
            InvalidInput: It cannot be written; those before it stay.
        """
        part = Part(
            name=f"part-{len(self._parts):05d}.parquet",
            num_rows=num_rows,
            num_errors=num_errors,
            sha256=hashlib.sha256(content).hexdigest(),
        )
        with _writing(self._path):
            _write_whole(self._path / _PARTS, part.name, content, staging=self._path)
            self._add_line(json.dumps(asdict(part)).encode() + b"\n")
        self._parts.append(part)

    def write_summary(self, summary: Mapping[str, Any]) -> Path:
        """Write the figures and return where.

        Raises:
            InvalidInput: They cannot be written.
        """
        with _writing(self._path):
            _write_whole(self._path, _SUMMARY, _to_json(summary), staging=self._path)
        return self._path / _SUMMARY

    def close(self) -> None:
        """Let other audits have it."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _add_line(self, line: bytes) -> None:
        # A disk that is nearly full takes the beginning.
        if self._journal.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._journal.fileno())

    def _read_journal(self) -> list[Part]:
        self._journal.seek(0)
        whole, _, torn = self._journal.readall().rpartition(b"\n")
        if torn:
            self._journal.truncate(len(whole) + bool(whole))
        for left in self._path.glob(".*.partial"):
            left.unlink()
        try:
            parts = [msgspec.json.decode(x, type=Part) for x in whole.splitlines()]
        except msgspec.DecodeError as error:
            raise InvalidInput(
                f"{self._path / _JOURNAL}: is damaged ({error}); audit into a new"
                " folder"
            ) from error
        for part in parts:
            self._check(part)
        return parts

    def _check(self, part: Part) -> None:
        path = self._path / _PARTS / part.name
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise InvalidInput(
                f"{path}: the journal names it, but it cannot be read"
                f" ({error.strerror}); put it back, or audit into a new folder"
            ) from error
        if found != part.sha256:
            raise InvalidInput(
                f"{path}: is not as it was written; put it back, or audit into a new"
                " folder"
            )


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be made a folder ({error.strerror}); name a new one where"
            " you may write"
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    # On the folder itself, so that it leaves nothing behind; the kernel lets go of it
    # however the process ends.
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInput(
                f"{path}: another process writes to it; wait for its end"
            ) from error
        yield
    finally:
        os.close(handle)


def _claim(path: Path, identity: Mapping[str, Any]) -> None:
    content = _to_json(identity)
    try:
        found = (path / _AUDIT).read_bytes()
    except FileNotFoundError:
        # A run that was killed before it wrote anything may have left its staging.
        if any(not _is_staging(each) for each in path.iterdir()):
            raise InvalidInput(
                f"{path}: holds other files and no audit; name a new folder"
            ) from None
        _write_whole(path, _AUDIT, content, staging=path)
        return
    if found != content:
        raise InvalidInput(
            f"{path}: holds another audit: {_differences(found, identity)}; audit into"
            " a new folder, or run again what began this one"
        )


def _is_staging(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".partial"


def _differences(found: bytes, identity: Mapping[str, Any]) -> str:
    try:
        before = json.loads(found)
        keys = [key for key in identity if before.get(key) != identity[key]]
    except (ValueError, AttributeError):
        return "its audit.json cannot be read"
    told = (
        f"{key} was {json.dumps(before.get(key))}, is {json.dumps(identity[key])}"
        for key in keys
    )
    return "; ".join(told) or "settings of another release"


def write_whole(directory: Path, name: str, content: bytes) -> Path:
    """Write a file of a finished audit at once or not at all, and return where.

    Args:
        directory: The folder.
        name: The file's.
        content: What.

    Raises:
        InvalidInput: It cannot be written.
    """
    with _writing(directory):
        _write_whole(directory, name, content, staging=directory)
    return directory / name


def _to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode() + b"\n"


def _write_whole(directory: Path, name: str, content: bytes, *, staging: Path) -> None:
    # Renamed before its bytes have reached the disk, a file can be empty after a crash;
    # and before the folder has, it can be missing.
    staged = staging / f".{name}.partial"
    with staged.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(directory / name)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be written ({error.strerror}); the parts in its journal"
            " are whole. Put that right and run the same command again to go on"
        ) from error
