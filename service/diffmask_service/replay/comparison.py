"""Two records of one text, compared value by value.

A record is what a reply's JSON or an audit's row holds of a text: names to values,
lists of them and records inside. Numbers are compared as float32, which is how wide the
graph gives and the server sends them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

_Path: TypeAlias = tuple[str | int, ...]
_GATES = ("input_gates", "hidden_gates")
# Of a value that is a text or a list of them.
_MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What differs under one name of a record.

    Attributes:
        name: The name.
        told: What differs, in words.
        size: Largest difference of two numbers, >= 0; None where other things differ.
    """

    name: str
    told: str
    size: float | None = None

    @property
    def is_of_gates(self) -> bool:
        """Whether gates differ."""
        return self.name in _GATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a text's record says now, beside what it said before.

    Attributes:
        name: What the record is known by.
        differences: One for each name whose values differ; empty where every bit is
            the same.
    """

    name: str
    differences: tuple[Difference, ...]

    @property
    def largest_of_gates(self) -> Difference | None:
        """The largest difference between gates, where any differ in value."""
        found = [
            each
            for each in self.differences
            if each.is_of_gates and each.size is not None
        ]
        return max(found, key=lambda each: each.size or 0.0, default=None)


def compare(
    name: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    states: Sequence[str],
    tokens: Sequence[str],
    tolerance: float = 0.0,
) -> Comparison:
    """Compare two records of one text.

    Args:
        name: What they are known by.
        before: The record.
        after: What is said now, written the same way.
        states: Names along the `layers` axis of the gates.
        tokens: What the `tokens` axis of the gates is to be called.
        tolerance: Numbers that differ by no more count as the same, >= 0; 0 asks for
            the same bits.
    """
    axes = _Axes(states=states, tokens=tokens)
    found = (
        _difference(key, before.get(key), after.get(key), axes, tolerance)
        for key in dict.fromkeys((*before, *after))
    )
    return Comparison(
        name=name, differences=tuple(each for each in found if each is not None)
    )


def _difference(
    name: str, before: Any, after: Any, axes: "_Axes", tolerance: float
) -> Difference | None:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    if old.keys() != new.keys():
        told = f"was {_shown(before)}, is {_shown(after)}"
        return Difference(name=name, told=told)
    changed = [path for path in old if not _is_same(old[path], new[path], tolerance)]
    if not changed:
        return None
    sizes = {path: _distance(old[path], new[path]) for path in changed}
    # What is no number comes first: a label says more than its probability.
    path = max(sizes, key=lambda each: sizes[each])
    others = f" ({len(changed)} of {len(old)} values differ)" if len(old) > 1 else ""
    return Difference(
        name=name,
        told=f"{axes.place(name, path)}was {_shown(old[path])}, is {_shown(new[path])}"
        f"{others}",
        size=None if math.isinf(sizes[path]) else sizes[path],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """Names along the axes of gates."""

    states: Sequence[str]
    tokens: Sequence[str]

    def place(self, name: str, path: _Path) -> str:
        if name in _GATES and len(path) == 2:
            state, token = int(path[0]), int(path[1])
            return f"{self.states[state]}, token {token} {self.tokens[token]!r}: "
        return f"{'.'.join(map(str, path))}: " if path else ""


def _leaves(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        yield path, value


def _is_same(old: Any, new: Any, tolerance: float) -> bool:
    if isinstance(old, float) and isinstance(new, float):
        # As bits: equality would not tell a zero from a negative one.
        is_same = np.float32(old).tobytes() == np.float32(new).tobytes()
        return is_same or 0 < _distance(old, new) <= tolerance
    return type(old) is type(new) and bool(old == new)


def _distance(old: Any, new: Any) -> float:
    if isinstance(old, float) and isinstance(new, float):
        return abs(old - new)
    return math.inf


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:.9g}"
    text = repr(value)
    if len(text) <= _MAX_SHOWN_CHARACTERS:
        return text
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return text[:_MAX_SHOWN_CHARACTERS] + "..."
