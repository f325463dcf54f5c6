"""Values out of files that may be replaced while the server runs."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from diffmask_service.errors import StartError

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class WatchedFiles(Generic[_Value]):
    """A value parsed out of files, and parsed anew once they change.

    Nothing polls: the files are looked at when the value is asked for. Files that are
    replaced by something unusable, or one by one, leave the value as it was, and the
    log says so once. May be asked from several threads.

    Args:
        paths: The files.
        parse: Reads them all; raises StartError when they are unusable.

    Raises:
        StartError: They are unusable now, at the start.
    """

    def __init__(self, paths: Sequence[Path], parse: Callable[[], _Value]) -> None:
        self._paths = tuple(paths)
        self._parse = parse
        self._lock = threading.Lock()
        # Before reading: a change in between is then seen the next time.
        self._stamps = self._look()
        self._value = parse()

    @property
    def value(self) -> _Value:
        """The value by the files as they are now."""
        with self._lock:
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps
                self._renew()
            return self._value

    def _renew(self) -> None:
        names = ", ".join(str(path) for path in self._paths)
        try:
            self._value = self._parse()
        except StartError as error:
            _LOG.warning(
                "%s changed and cannot be used, keeping the old: %s", names, error
            )
        else:
            _LOG.info("%s changed and is in use", names)

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - follows the links of mounted secrets
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
