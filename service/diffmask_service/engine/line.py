"""The line of entries in front of the graph: who comes first, and how much waits.

An entry's place is the arrival of its request plus a fixed time for each level below
the highest. So a request overtakes those of the next lower level that came at most that
long before it, and no others: whoever waits is passed only by requests that arrive
within a known time, and no level starves. Within a level the order is that of arrival;
a shorter deadline buys no better place, or callers would learn to claim one.
"""

import bisect
from collections.abc import Callable
from operator import attrgetter

from diffmask_service.engine.submission import Entry

_place: Callable[[Entry], tuple[float, int]] = attrgetter("place")


class Line:
    """Entries in the order of their places, with the tokens that wait at each level."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._num_tokens_by_priority: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Put an entry in its place."""
        bisect.insort(self._entries, entry, key=_place)
        self._shift(entry, entry.shape.num_tokens)

    def discard(self, entry: Entry) -> None:
        """Take an entry out; one that is not there changes nothing."""
        at = bisect.bisect_left(self._entries, entry.place, key=_place)
        if at < len(self._entries) and self._entries[at] is entry:
            del self._entries[at]
            self._shift(entry, -entry.shape.num_tokens)

    def first(self, count: int) -> list[Entry]:
        """Return the entries that come first, at most so many."""
        return self._entries[:count]

    def count_tokens(self, *, priority: int) -> int:
        """Return the tokens that wait at a level and at those above it.

        Lower levels may come first too, where they have waited long; they are left
        out, so this is no more than what stands in front of a newcomer.

        Args:
            priority: The level, 1 for the highest.
        """
        return sum(
            num_tokens
            for level, num_tokens in self._num_tokens_by_priority.items()
            if level <= priority
        )

    def _shift(self, entry: Entry, num_tokens: int) -> None:
        counts, level = self._num_tokens_by_priority, entry.priority
        counts[level] = counts.get(level, 0) + num_tokens
