"""One setting: a field of a dataclass that knows its meaning and its bounds."""

from dataclasses import field
from pathlib import Path
from typing import Any


def setting(
    meaning: str,
    *,
    default: Any,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    is_secret: bool = False,
) -> Any:
    """Return the field of a setting.

    Args:
        meaning: What it is and what it trades, for the help and the README.
        default: What holds when nobody sets it.
        at_least: Smallest number that is taken; None for no bounds.
        at_most: Largest number that is taken.
        choices: The words that are taken; none for any.
        is_secret: Whether it may hold a secret: where settings are shown, it is masked
            unless it is a bare URL of scheme, host, port and path.
    """
    metadata = {
        "meaning": meaning,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
        "is_secret": is_secret,
    }
    return field(default=default, metadata=metadata)


def path_or_none(path: Path) -> Path | None:
    """Return the path of a setting; None where it is left empty."""
    return None if path == Path() else path
