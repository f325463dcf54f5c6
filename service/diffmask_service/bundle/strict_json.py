"""JSON of which every reader makes the same, or nothing.

The format leaves open what a key means that stands twice, and libraries read more than
the format: numbers that are none, halves of characters, any depth. All of that is
refused here.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

_MAX_DEPTH = 32


def parse_json(raw: bytes) -> Any:
    """Read JSON.

    Args:
        raw: UTF-8.

    Raises:
        ValueError: It is not JSON, or two readers may make different things of it.
    """
    try:
        value = json.loads(
            raw.decode(),
            object_pairs_hook=_to_dict,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise ValueError("is nested too deep") from error
    _check(value)
    return value


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"holds the key {name[:64]!r} twice")
        found[name] = value
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"holds {text}, which is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds {text[:64]}, which is too large a number")
    return value


def _check(value: Any) -> None:
    level: Iterable[Any] = (value,)
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each)
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
            elif isinstance(each, str):
                _check_text(each)
        if not below:
            return
        level = below
    raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a surrogate pair") from error
