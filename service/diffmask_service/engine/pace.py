"""How fast the graph runs here, from the runs that were seen."""

import statistics
from collections import deque

# Enough to span the lengths of ordinary traffic, few enough to follow a change.
_NUM_REMEMBERED = 32
_NUM_NEEDED = 4
# Before the first run; of the order of a small model on one core.
_GUESS_SECONDS = 1e-4


class Pace:
    """Seconds that one worker takes over one token: the median of the last runs.

    A median, since one run that met a sleeping machine must not make a thousand
    requests look late, and half of the remembered runs mend any error.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_NUM_REMEMBERED)

    @property
    def is_measured(self) -> bool:
        """Whether enough runs were seen to foretell anything."""
        return len(self._samples) >= _NUM_NEEDED

    @property
    def token_seconds(self) -> float:
        """Seconds a token; a guess before the first run."""
        return statistics.median(self._samples) if self._samples else _GUESS_SECONDS

    def note(self, *, num_tokens: int, seconds: float) -> None:
        """Take note of a run.

        Args:
            num_tokens: Tokens of its texts, >= 1.
            seconds: How long it took.
        """
        self._samples.append(seconds / num_tokens)
