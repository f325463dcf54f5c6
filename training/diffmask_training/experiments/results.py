"""What an experiment has found so far: one JSON file, one entry for each finished unit.

A unit (one seed, as a rule) is stored whole or not at all, so an interrupted run goes
on where it stopped, processes that run different units may write to one file, and
figures made under other settings are never mixed in.
"""

import fcntl
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from diffmask_training.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Figures of one experiment.

    Attributes:
        experiment: Its name, which is the file's.
        settings: What the figures depend on, as JSON values.
        units: What each finished unit found, by its name.
    """

    experiment: str
    settings: Mapping[str, Any]
    units: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over independent runs.

    Attributes:
        mean: Of the runs.
        low: Lower end of the 95 % interval; None for a single run.
        high: Upper end, likewise.
        num_runs: Runs.
    """

    mean: float
    low: float | None
    high: float | None
    num_runs: int


def trial_name(experiment: str, trial: str) -> str:
    """Return the name of an experiment's results, or of a trial of other settings."""
    return f"{experiment}.{trial}" if trial else experiment


def read_results(path: Path) -> Results:
    """Read a file of figures.

    Raises:
        DataError: It is not there, or not such a file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Results(
            experiment=content["experiment"],
            settings=content["settings"],
            units=content["units"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no results ({error!r}); run the experiment again"
        ) from error


def write_results(results: Results, directory: Path) -> Path:
    """Write a file of figures whole, and return where it is.

    Raises:
        ValueError: A figure is not finite; what is undefined is stored as None.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{results.experiment}.json"
    content = {
        "experiment": results.experiment,
        "settings": results.settings,
        "units": results.units,
    }
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)  # noqa: PTH105 - it is atomic, and says so
    return path


def run_units(
    experiment: str,
    settings: Mapping[str, Any],
    units: Mapping[str, Callable[[], Mapping[str, Any]]],
    *,
    directory: Path,
) -> None:
    """Run what is not finished yet, and store each unit as it is finished.

    Args:
        experiment: Its name.
        settings: What the figures depend on.
        units: What to run, by name.
        directory: Where the file of figures is, or will be.

    Raises:
        ConfigError: The file is there and was made under other settings.
        DataError: The file is there and is not one of figures.
        TypeError: A figure is not a JSON value.
    """
    # Tuples become lists and paths become text, so that settings compare equal.
    asked = _as_json(settings, default=str)
    _stored(experiment, asked, directory)
    for name, run in units.items():
        if name in _stored(experiment, asked, directory).units:
            continue
        # No figure becomes text: that of a false numpy value would be a true one.
        found = _as_json(run(), default=None)
        # Another process may have stored units meanwhile, this one among them.
        with _alone(directory):
            before = _stored(experiment, asked, directory).units
            stored = {name: found, **before}
            order = [each for each in (*units, *before) if each in stored]
            results = Results(
                experiment=experiment,
                settings=asked,
                units={each: stored[each] for each in order},
            )
            write_results(results, directory)
        logging.getLogger(__name__).info("%s: %s is stored", experiment, name)


def _stored(experiment: str, settings: Mapping[str, Any], directory: Path) -> Results:
    path = directory / f"{experiment}.json"
    if not path.exists():
        return Results(experiment=experiment, settings=settings)
    results = read_results(path)
    if results.settings != settings:
        raise ConfigError(
            f"{path} was made under other settings ({results.settings}, not"
            f" {settings}); choose another folder, or remove the file"
        )
    return results


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep other processes that write to a folder waiting."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of independent runs and its 95 % interval by Student's t.

    A single run tells nothing of its spread, and has no interval.

    Raises:
        DataError: There is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or not np.isfinite(array).all():
        raise DataError(f"a mean needs one finite figure or more, not {values}")
    mean, num_runs = float(array.mean()), len(array)
    if num_runs == 1:
        return Interval(mean=mean, low=None, high=None, num_runs=num_runs)
    half = float(
        stats.t.ppf(0.975, num_runs - 1) * array.std(ddof=1) / math.sqrt(num_runs)
    )
    return Interval(mean=mean, low=mean - half, high=mean + half, num_runs=num_runs)


def digests(paths: Iterable[Path]) -> list[str]:
    """Name files by what they are, not by where they lie.

    Args:
        paths: Files, such as weights that figures depend on.

    Returns:
        The first 16 hex digits of the sha256 of each.
    """
    return [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in paths]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread; small matrices lose more to threads than they win."""
    import torch  # noqa: PLC0415 - reading figures does not need it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _as_json(
    value: Mapping[str, Any], *, default: Callable[[Any], Any] | None
) -> dict[str, Any]:
    converted: dict[str, Any] = json.loads(json.dumps(value, default=default))
    return converted
