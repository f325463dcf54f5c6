"""A server's drift gauges over a course of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drifting.texts import Counts, Kind, SeenTexts
from diffmask_service.telemetry.drift import Window


class Watch:
    """Watches texts with the very windows of a server.

    Args:
        reference: What the live texts are compared with.
    """

    def __init__(self, reference: Counts) -> None:
        self._windows: dict[Kind, list[Window | None]] = {
            kind: [
                Window(rows, num_kinds=len(reference)) if rows.any() else None
                for rows in counts
            ]
            for kind, counts in reference.items()
        }
        self._ratios = {kind: np.zeros(len(rows)) for kind, rows in reference.items()}

    def add(self, texts: SeenTexts) -> None:
        """Take note of texts, one after the other."""
        for kind, windows in self._windows.items():
            for label, bins in zip(
                texts.labels.tolist(), texts.bins[kind], strict=True
            ):
                window = windows[label]
                if window is not None and window.add(bins):
                    self._ratios[kind][label] = window.ratios().max()

    def largest(self) -> dict[Kind, float]:
        """Return the largest ratio that the gauges of each kind show, >= 0."""
        return {kind: float(rows.max()) for kind, rows in self._ratios.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What the gauges showed, minute by minute.

    Attributes:
        ratios: Of each kind of gate, the largest ratio at the end of each minute.
        num_quiet: Minutes before the shift.
        texts_until_seen: Shifted texts until some ratio was above 1; None when none
            was, or nothing shifted.
    """

    ratios: dict[Kind, list[float]]
    num_quiet: int
    texts_until_seen: int | None

    @property
    def largest_before(self) -> float:
        """The largest ratio before the shift."""
        return max(max(row[: self.num_quiet]) for row in self.ratios.values())


def watch_course(
    watch: Watch,
    live: SeenTexts,
    shifted: SeenTexts | None,
    *,
    minutes: int,
    per_minute: int,
    num_shifted: int,
    generator: np.random.Generator,
) -> Course:
    """Let a server see live texts, drawn again and again, and then shifted ones.

    Args:
        watch: What watches.
        live: Texts to draw from.
        shifted: Those that take their place; None for none.
        minutes: How long the live ones come.
        per_minute: Texts of a minute.
        num_shifted: How many shifted ones come.
        generator: Draws.
    """
    ratios: dict[Kind, list[float]] = {kind: [] for kind in live.bins}

    def note() -> None:
        for kind, ratio in watch.largest().items():
            ratios[kind].append(ratio)

    for _ in range(minutes):
        watch.add(live.at(generator.integers(len(live), size=per_minute)))
        note()
    seen_at = None
    if shifted is not None:
        drawn = generator.integers(len(shifted), size=num_shifted)
        for number, place in enumerate(drawn, start=1):
            watch.add(shifted.at(np.array([place])))
            if seen_at is None and max(watch.largest().values()) > 1:
                seen_at = number
            if number % per_minute == 0 or number == num_shifted:
                note()
    return Course(ratios=ratios, num_quiet=minutes, texts_until_seen=seen_at)


def halves(texts: SeenTexts, generator: np.random.Generator) -> Sequence[SeenTexts]:
    """Return two halves of texts, chosen at random."""
    order: NDArray[np.int64] = generator.permutation(len(texts))
    middle = len(order) // 2
    return texts.at(order[:middle]), texts.at(order[middle:])
