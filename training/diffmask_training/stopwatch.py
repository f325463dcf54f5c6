"""Where the time of a fit goes, by stage."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Wall-clock time of named stages.

    Attributes:
        seconds_by_stage: Time so far, seconds.
    """

    def __init__(self) -> None:
        self.seconds_by_stage: dict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside towards one stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds_by_stage[name] += time.perf_counter() - start

    def state_dict(self) -> dict[str, float]:
        """Return what a checkpoint needs."""
        return dict(self.seconds_by_stage)

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Take up the state of a checkpoint."""
        self.seconds_by_stage.update(state)
