"""The log of a fit: a CSV file with a row for every epoch and state."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmask_training.figures import Figures, StateFigures
from diffmask_training.whole_files import write_whole


def rows_of(
    epoch: int, figures: Figures, multipliers: Sequence[float]
) -> list[list[Any]]:
    """Return one row for every state.

    Args:
        epoch: Counted from 1.
        figures: Its validation.
        multipliers: Of each state at its end.
    """
    return [
        [epoch, *dataclasses.astuple(state), multiplier]
        for state, multiplier in zip(figures.states, multipliers, strict=True)
    ]


def write_log(directory: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Write all rows so far; a fit that was interrupted leaves none twice.

    Raises:
        CheckpointError: They cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    names = [field.name for field in dataclasses.fields(StateFigures)]
    writer.writerow(["epoch", *names, "multiplier"])
    writer.writerows(rows)
    write_whole(directory, {"log.csv": stream.getvalue().encode()})
