"""Who is told how far a report is."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from diffmask_training.figures import Figures
from diffmask_training.probes import ProbeKind

ItemT = TypeVar("ItemT")


class Track(Protocol):
    """Shows how far some work is."""

    def __call__(self, items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
        """Return the items in their order; `what` names the work."""
        ...


def _untracked(items: Sequence[ItemT], what: str) -> Iterable[ItemT]:
    del what
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who is told of figures before the report is whole; nobody by default.

    Attributes:
        track: Shows the progress.
        on_figures: Told the hard masks of a kind of probe once they are measured.
    """

    track: Track = _untracked
    on_figures: Callable[[ProbeKind, Figures], None] = lambda _kind, _figures: None
