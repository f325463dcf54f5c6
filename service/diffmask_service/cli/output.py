"""Standard output, standard error and files, the way all commands use them."""

import io
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from diffmask_service.errors import InvalidInput


def prepare_output() -> None:
    """Let a terminal of any encoding show any text: what it lacks becomes `?`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def discard_output() -> None:
    """Send what is still to be written nowhere, once the reader has gone."""
    # Otherwise the interpreter's own flush at exit would complain.
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def make_console() -> Console:
    """Return a console on standard output that adds no colours of its own."""
    return Console(highlight=False, markup=False, emoji=False)


def say(line: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_aside(message: str) -> None:
    """Write a line to standard error, beside what the command answers."""
    sys.stderr.write(f"diffmask: {message}\n")


def write_whole(path: Path, content: str) -> None:
    """Write a text file at once or not at all.

    Args:
        path: Where; an older file is replaced.
        content: What, written as UTF-8.

    Raises:
        InvalidInput: The place cannot be written.
    """
    try:
        # An audit clears what ends so out of its folder, should this process be killed.
        handle, staging = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=".partial", dir=path.parent
        )
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            Path(staging).chmod(0o644)
            Path(staging).replace(path)
        finally:
            Path(staging).unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from error
