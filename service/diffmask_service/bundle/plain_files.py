"""Folders held open and plain files read out of them, each once.

A name is looked up in the folder that was opened, by its descriptor, and never followed
through a link: whatever is renamed or replaced meanwhile, what is read belongs to the
folder that was checked.
"""

import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from diffmask_service.errors import BundleError, FolderError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Not to wait for the other end, should the name be a pipe's.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Name, size, time of the last change and number of every file: equal while nobody
# touched the folder.
Facts: TypeAlias = tuple[tuple[str, int, int, int], ...]


def open_folder(path: Path) -> "PlainFolder":
    """Open a folder that the operator named; a link to it is followed.

    Args:
        path: Where it is.

    Raises:
        FolderError: There is none, or it cannot be opened.
    """
    try:
        return PlainFolder(os.open(path, _FOLDER))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FolderError(
            f"{path}: no such directory; name that of a bundle, or of a repository"
        ) from error
    except OSError as error:
        raise FolderError(f"{path}: cannot be opened ({error.strerror})") from error


class PlainFolder:
    """An open folder; a context manager that closes it.

    Args:
        descriptor: Of the folder; belongs to this object from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def names(self) -> tuple[str, ...]:
        """Return the names of all that lies in the folder, sorted.

        Raises:
            BundleError: It was removed after it was opened, or cannot be read.
        """
        try:
            # A path's own listing would look the folder up again by its name.
            return tuple(sorted(os.listdir(self._descriptor)))  # noqa: PTH208
        except OSError as error:
            raise _unreadable("the folder", error) from error

    def facts(self) -> Facts:
        """Return what changes whenever something in the folder does.

        Raises:
            BundleError: As for `names`, or a file in it cannot be looked at.
        """
        found = []
        for name in self.names():
            try:
                each = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unreadable(name, error) from error
            found.append((name, each.st_size, each.st_mtime_ns, each.st_ino))
        return tuple(found)

    def folder(self, name: str) -> "PlainFolder":
        """Open a folder in this one.

        Args:
            name: A plain name, without a path.

        Raises:
            BundleError: It is a link, or no folder.
        """
        try:
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor)
        except OSError as error:
            raise BundleError(
                f"{name}: is a link, or no folder that can be opened; put the folder"
                " itself there"
            ) from error
        return PlainFolder(descriptor)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Read a file of this folder.

        Args:
            name: A plain name, without a path.
            max_bytes: Largest content, bytes.

        Raises:
            BundleError: It is a link, has a second name, is no plain file, is too
                large, or cannot be read.
        """
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._descriptor)
            try:
                size = _check_plain(os.fstat(descriptor), name, max_bytes=max_bytes)
                # One byte more shows a file that grows.
                with os.fdopen(descriptor, "rb", closefd=False) as stream:
                    content = stream.read(size + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise BundleError(
                    f"{name}: is a link; a bundle holds plain files only"
                ) from error
            raise _unreadable(name, error) from error
        if len(content) != size:
            raise BundleError(
                f"{name}: changed while it was read; put a bundle in its place by"
                " renaming it"
            )
        return content


def _unreadable(name: str, error: OSError) -> BundleError:
    return BundleError(
        f"{name}: cannot be read ({error.strerror}); export the bundle again"
    )


def _check_plain(facts: os.stat_result, name: str, *, max_bytes: int) -> int:
    if not stat.S_ISREG(facts.st_mode):
        raise BundleError(f"{name}: is no plain file; a bundle holds nothing else")
    if facts.st_nlink != 1:
        raise BundleError(
            f"{name}: has {facts.st_nlink} names (hard links), and may be changed"
            " through another; copy the bundle"
        )
    if facts.st_size > max_bytes:
        raise BundleError(
            f"{name}: has {facts.st_size} bytes; at most {max_bytes} are read"
        )
    return facts.st_size
