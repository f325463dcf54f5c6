"""How urgent a thread is to the system's scheduler."""

import os
import sys
import threading
from contextlib import suppress

# The least urgent that there is.
_MOST = 19


def lower_priority(levels: int) -> None:
    """Make the present thread less urgent than the others of its process.

    Does nothing where priorities belong to whole processes: everywhere but on Linux.

    Args:
        levels: By how many nice levels, >= 0; 0 changes nothing.
    """
    if sys.platform != "linux" or not levels:
        return
    number = threading.get_native_id()
    # A sandbox may forbid it; then the thread stays as urgent as the rest.
    with suppress(OSError):
        now = os.getpriority(os.PRIO_PROCESS, number)
        os.setpriority(os.PRIO_PROCESS, number, min(_MOST, now + levels))
