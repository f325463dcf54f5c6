"""The log of a fit: a CSV file with a row for every epoch and state."""

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffmask_training.figures import Figures
from diffmask_training.whole_files import write_whole


def rows_of(
    epoch: int, figures: Figures, multipliers: Sequence[float]
) -> list[dict[str, Any]]:
    """Return one row for every state, by column; a task's own figures have their own.

    Args:
        epoch: Counted from 1.
        figures: Its validation.
        multipliers: Of each state at its end.
    """
    rows = []
    for state, multiplier in zip(figures.states, multipliers, strict=True):
        row = dataclasses.asdict(state)
        scores: dict[str, float] = row.pop("scores")
        rows.append({"epoch": epoch, **row, **scores, "multiplier": multiplier})
    return rows


def write_log(directory: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all rows so far; a fit that was interrupted leaves none twice.

    Args:
        directory: Where to.
        rows: As `rows_of` returns them, at least one.

    Raises:
        OutputError: They cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    write_whole(directory, {"log.csv": stream.getvalue().encode()})
