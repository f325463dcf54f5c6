"""Events that wait to be counted, many at a time.

To count an event takes dozens of steps, through code and tables that the run of a graph
has just pushed out of the processor's caches; to note it takes one. What waits is
counted before anything is shown, so nobody can tell.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

_ROOM = 256
_Event = TypeVar("_Event")


class Ledger(Generic[_Event]):
    """Notes events, and has them counted together; callable from several threads.

    Args:
        count: Counts them, in their order; never called twice at a time.
        room: So many may wait, >= 1.
    """

    def __init__(
        self, count: Callable[[Sequence[_Event]], None], *, room: int = _ROOM
    ) -> None:
        self._count = count
        self._room = room
        self._events: deque[_Event] = deque()
        self._lock = Lock()

    def note(self, event: _Event) -> None:
        """Take note of an event."""
        self._events.append(event)
        if len(self._events) >= self._room:
            self.settle()

    def settle(self) -> None:
        """Have everything counted that was noted so far."""
        with self._lock:
            # Another thread may note more meanwhile, which stays for the next time.
            events = [self._events.popleft() for _ in range(len(self._events))]
            if events:
                self._count(events)
