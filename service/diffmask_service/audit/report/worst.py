"""The texts explained worst: those whose kept tokens say least of the prediction."""

import heapq

from diffmask_service.audit.report.reading import Explained

NUM_TEXTS = 20


class WorstCollector:
    """Keeps the texts of the largest divergence.

    Args:
        num_texts: How many.
    """

    def __init__(self, num_texts: int = NUM_TEXTS) -> None:
        self._num_texts = num_texts
        # Of equal ones the earlier row stays; rows differ, so texts are not compared.
        self._heap: list[tuple[float, int, Explained]] = []

    def add(self, text: Explained) -> None:
        """Look at one text."""
        entry = (text.divergence, -text.row, text)
        if len(self._heap) < self._num_texts:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def figures(self) -> tuple[Explained, ...]:
        """Return them, the worst first."""
        return tuple(text for _, _, text in sorted(self._heap, reverse=True))
