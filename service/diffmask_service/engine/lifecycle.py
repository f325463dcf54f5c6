"""Whether an engine answers requests, and how it stops doing so."""

import asyncio
from collections.abc import Callable

from diffmask_service.errors import NotReadyError


class Lifecycle:
    """Counts requests in progress and tells listeners about readiness."""

    def __init__(self) -> None:
        self._is_healthy = True
        self._is_draining = False
        self._num_requests = 0
        self._idle: list[asyncio.Future[None]] = []
        self._listeners: list[Callable[[bool], None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered now."""
        return self._is_healthy and not self._is_draining

    def subscribe(self, listener: Callable[[bool], None]) -> None:
        """Tell a listener about readiness, now and at each change."""
        self._listeners.append(listener)
        listener(self.is_ready)

    def set_healthy(self, *, is_healthy: bool) -> None:
        """Record whether the model works.

        An unhealthy model still takes requests: one that succeeds is the only proof
        that it works again.
        """
        self._is_healthy = is_healthy
        self._announce()

    def enter(self) -> None:
        """Begin a request.

        Raises:
            NotReadyError: The engine drains.
        """
        if self._is_draining:
            raise NotReadyError("the server is stopping; send the request to another")
        self._num_requests += 1

    def leave(self) -> None:
        """End a request."""
        self._num_requests -= 1
        if not self._num_requests:
            for future in self._idle:
                if not future.done():
                    future.set_result(None)

    async def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests and wait until none is in progress.

        Args:
            timeout_seconds: Longest wait, seconds, >= 0.

        Returns:
            Whether all of them ended in time.
        """
        self.close()
        if self._num_requests:
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await asyncio.wait([idle], timeout=timeout_seconds)
        return not self._num_requests

    def close(self) -> None:
        """Refuse new requests."""
        self._is_draining = True
        self._announce()

    def _announce(self) -> None:
        for listener in self._listeners:
            listener(self.is_ready)
