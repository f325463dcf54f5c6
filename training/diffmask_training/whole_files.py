"""Files and folders that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from diffmask_training.errors import OutputError

_GO_ON = "Make room, and go on with --resume"


def make_folder(directory: Path) -> None:
    """Make a folder, so that nobody waits for hours to hear that it cannot be.

    Raises:
        OutputError: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory}: no folder can be made there ({error.strerror}); name"
            " another one"
        ) from error


def write_whole(
    directory: Path, content_by_name: Mapping[str, bytes], *, remedy: str = _GO_ON
) -> None:
    """Write some files, each whole or not at all, and none before all are on the disk.

    Args:
        directory: Where to; made where it is missing.
        content_by_name: The files.
        remedy: What to do where they cannot be written.

    Raises:
        OutputError: They cannot be written; what was there before is as it was.
    """
    staged = {name: directory / f".{name}.part" for name in content_by_name}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in content_by_name.items():
            _write_through(staged[name], content)
        for name, path in staged.items():
            path.replace(directory / name)
    except OSError as error:
        for path in staged.values():
            with suppress(OSError):
                path.unlink()
        raise OutputError(
            f"{directory}: {', '.join(content_by_name)} cannot be written"
            f" ({error.strerror}); what was there before is as it was. {remedy}"
        ) from error


def replace_folder(directory: Path, content_by_path: Mapping[str, bytes]) -> None:
    """Write a folder, whole or not at all; one that stands there is replaced.

    Args:
        directory: The folder.
        content_by_path: Its files, by their path in it.

    Raises:
        OSError: It cannot be written; what was there before is as it was.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        whole = staging / "new"
        for name, content in content_by_path.items():
            path = whole / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_through(path, content)
        # A folder cannot be renamed over one that holds files, so the old one steps
        # aside first, and comes back should the second rename fail.
        aside = staging / "old"
        if directory.exists():
            directory.rename(aside)
        try:
            whole.rename(directory)
        except OSError:
            if aside.exists():
                aside.rename(directory)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_files(
    directory: Path, write: Callable[[Path], object], *, remedy: str = _GO_ON
) -> None:
    """Let someone write files into a folder, and take them over when all are there.

    Args:
        directory: Where they go in the end; what else is there stays.
        write: Is given an empty folder on the same disk.
        remedy: What to do where they cannot be written.

    Raises:
        OutputError: They cannot be written; what was there before is as it was.
    """
    staging = directory / ".part"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        write(staging)
        paths = sorted(staging.iterdir())
        for path in paths:
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
        for path in paths:
            path.replace(directory / path.name)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{directory}: cannot be written ({error}); what was there before is as it"
            f" was. {remedy}"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_through(path: Path, content: bytes) -> None:
    # Renamed before its bytes have reached the disk, a file can be empty after a crash.
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
