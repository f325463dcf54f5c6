"""Time that moves only when a test says so."""


class ManualClock:
    """A monotonic clock that stands still.

    Attributes:
        now: Its time, seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time, seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self.now += seconds
