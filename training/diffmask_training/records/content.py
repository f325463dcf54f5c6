"""Bytes of a data file and its lines, mapped into memory rather than read into it.

The system takes mapped pages back when it needs room, so a file may be larger than the
memory. A packed file is unpacked into a file without a name, which is gone with its
last reader.
"""

import gzip
import mmap
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from diffmask_training.errors import DataError

Content: TypeAlias = bytes | mmap.mmap
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def open_content(path: Path) -> Content:
    """Return what a file holds, unpacked where its name ends in `.gz`.

    Raises:
        DataError: It cannot be read or unpacked.
    """
    try:
        with path.open("rb") as stream:
            return _unpacked(stream) if path.name.endswith(".gz") else _mapped(stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a complete gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def whole_text(content: Content, path: Path) -> str:
    """Return a whole file as text.

    Args:
        content: What it holds.
        path: Its name, for error messages.

    Raises:
        DataError: It is not UTF-8.
    """
    return "".join(Lines(content, path))


class Lines(Iterator[str]):
    """The lines of a file, each decoded when its turn comes, with their ends.

    Attributes:
        position: Bytes read so far.
        number: Lines read so far.
    """

    def __init__(
        self, content: Content, path: Path, *, position: int = 0, number: int = 0
    ) -> None:
        self._content = content
        self._path = path
        self.position = position
        self.number = number
        if position == 0 and content[: len(_BYTE_ORDER_MARK)] == _BYTE_ORDER_MARK:
            self.position = len(_BYTE_ORDER_MARK)

    def __next__(self) -> str:
        """Return the next line.

        Raises:
            DataError: It is not UTF-8.
        """
        if self.position >= len(self._content):
            raise StopIteration
        # What follows the last line break is a line too.
        end = self._content.find(b"\n", self.position) + 1 or len(self._content)
        raw = self._content[self.position : end]
        self.position = end
        self.number += 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._path}, line {self.number}: not valid UTF-8; convert the file"
                " to UTF-8"
            ) from error


def _unpacked(stream: BinaryIO) -> Content:
    with gzip.open(stream) as packed, tempfile.TemporaryFile() as plain:
        shutil.copyfileobj(packed, plain)
        plain.flush()
        return _mapped(plain)


def _mapped(stream: BinaryIO) -> Content:
    # Nothing cannot be mapped.
    if stream.seek(0, 2) == 0:
        return b""
    return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
