"""How fast the graph runs here, from the runs that were seen."""

import statistics
from collections import deque

# Enough to span the lengths of ordinary traffic, few enough to follow a change.
_NUM_REMEMBERED = 32
_NUM_NEEDED = 4
# A run counts for at most so many times the median's pace.
_MOST_MEDIANS = 4.0
# Before the first run; of the order of a small model on one core.
_GUESS_SECONDS = 1e-4


class Pace:
    """Seconds that one worker takes over one token: those of the last runs together.

    Together, since what waits is a sum: where a processor's time is rationed, a few
    runs in which it was taken away make up much of the whole, and a median would not
    see them. But no run counts for more than four times the median: one that met a
    sleeping machine must not make a thousand requests look late, and half of the
    remembered runs mend most of any error.
    """

    def __init__(self) -> None:
        self._runs: deque[tuple[int, float]] = deque(maxlen=_NUM_REMEMBERED)
        # None while nobody has asked since the last run: few ask when nothing waits.
        self._token_seconds: float | None = _GUESS_SECONDS

    @property
    def is_measured(self) -> bool:
        """Whether enough runs were seen to foretell anything."""
        return len(self._runs) >= _NUM_NEEDED

    @property
    def token_seconds(self) -> float:
        """Seconds a token; a guess before the first run."""
        if self._token_seconds is None:
            self._token_seconds = self._measure()
        return self._token_seconds

    def note(self, *, num_tokens: int, seconds: float) -> None:
        """Take note of a run.

        Args:
            num_tokens: Tokens of its texts, >= 1.
            seconds: How long it took.
        """
        self._runs.append((num_tokens, seconds))
        self._token_seconds = None

    def _measure(self) -> float:
        most = _MOST_MEDIANS * statistics.median(s / n for n, s in self._runs)
        total_seconds = sum(min(s, most * n) for n, s in self._runs)
        return total_seconds / sum(n for n, _ in self._runs)
