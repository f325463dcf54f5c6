"""Waiting for what another thread or process will do, without timing it."""

import time
from collections.abc import Callable

# No measurement: what has not come by then does not come.
_PATIENCE_SECONDS = 300.0


def wait_until(condition: Callable[[], bool], what: object) -> None:
    """Ask again and again until something is so; `what` is told when it never is."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
