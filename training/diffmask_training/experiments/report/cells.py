"""Figures as text: means with intervals, targets, and tables in Markdown."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from diffmask_training.errors import DataError
from diffmask_training.experiments.results import Interval, Results, interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a mean must reach.

    Attributes:
        lowest: Smallest mean that meets it; None where it has no lower end.
        highest: Largest mean that meets it; None where it has no upper end.
    """

    lowest: float | None = None
    highest: float | None = None

    def is_met(self, mean: float) -> bool:
        """Return whether a mean meets it."""
        is_high_enough = self.lowest is None or mean >= self.lowest
        return is_high_enough and (self.highest is None or mean <= self.highest)


def over_units(results: Results, path: str) -> list[float | None]:
    """Return one figure of every unit.

    Args:
        results: Of an experiment.
        path: Keys on the way to it, with dots between.

    Raises:
        DataError: A unit lacks it.
    """
    found: list[float | None] = []
    for name, unit in results.units.items():
        try:
            found.append(reduce(lambda value, key: value[key], path.split("."), unit))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{name} of {results.experiment!r} has no {path!r}; remove its file"
                " and run the experiment again"
            ) from error
    return found


def interval_over_units(results: Results, path: str) -> Interval | None:
    """Return the mean of one figure over units; None where any is undefined.

    Raises:
        DataError: A unit lacks it, or there is no unit.
    """
    values = over_units(results, path)
    defined = [value for value in values if value is not None]
    return interval(defined) if len(defined) == len(values) else None


def mean_cell(
    found: Interval | None,
    *,
    digits: int,
    scale: float = 1.0,
    smallest: float = -math.inf,
    largest: float = math.inf,
) -> str:
    """Return a mean with its interval; an undefined one, here always infinite, as ∞.

    Student's interval does not know of bounds: with few runs near one it reaches
    beyond. It ends there instead, which leaves out no value that the mean can have.

    Args:
        found: The figure; that of a single run stands alone.
        digits: Behind the point.
        scale: What it is multiplied by; 100 for per cent.
        smallest: Value that the figure of a run can have, before it is multiplied.
        largest: Likewise.
    """
    if found is None:
        return "∞"
    mean = f"{scale * found.mean:.{digits}f}"
    if found.low is None or found.high is None:
        return mean
    ends = (max(smallest, found.low), min(largest, found.high))
    low, high = (f"{scale * end:.{digits}f}" for end in ends)
    return f"{mean} [{low}, {high}]"


def share_cell(found: Interval | None, *, digits: int) -> str:
    """Return a mean of shares with its interval, in per cent.

    Args:
        found: The figure, in [0, 1].
        digits: Behind the point.
    """
    return mean_cell(found, digits=digits, scale=100, smallest=0, largest=1)


def target_cell(target: Target | None, *, digits: int, scale: float = 1.0) -> str:
    """Return what must be reached, empty where nothing must."""
    if target is None:
        return ""
    ends = {"≥": target.lowest, "≤": target.highest}
    return " and ".join(
        f"{sign} {scale * end:.{digits}f}"
        for sign, end in ends.items()
        if end is not None
    )


def verdict_cell(found: Interval | None, target: Target | None) -> str:
    """Return `met` or `missed` by the mean, empty where nothing must be reached."""
    if target is None:
        return ""
    is_met = found is not None and target.is_met(found.mean)
    return "met" if is_met else "**missed**"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def trials(
    results: Results,
    others: Sequence[Results],
    describe: Callable[[Results], str],
    *,
    of: str = "",
) -> str:
    """Return what else was tried, one line each, empty where nothing was.

    Args:
        results: What is reported.
        others: The same experiment under other settings.
        describe: Returns the figures of one of them as text.
        of: What was tried otherwise, where a section is of several experiments.
    """
    if not others:
        return ""
    what = f" of {of}" if of else ""
    lines = [f"Also tried{what}, with everything else the same:", ""]
    for other in others:
        changed = changes(results.settings, other.settings)
        lines.append(
            f"- {changed} ({len(other.units)} runs, {len(results.units)} above):"
            f" {describe(other)}"
        )
    return "\n".join([*lines, ""])


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the settings in which two runs differ, as `name after (not before)`."""
    flat_before, flat_after = _flat(before), _flat(after)
    different = [
        f"`{name}` {flat_after.get(name)} (not {flat_before.get(name)})"
        for name in {**flat_before, **flat_after}
        if flat_before.get(name) != flat_after.get(name)
    ]
    return ", ".join(different) or "the same settings"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
