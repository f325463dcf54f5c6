"""Several waits at once, of which one failure ends all."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


async def gather_or_cancel(awaitables: Sequence[Awaitable[_T]]) -> list[_T]:
    """Return what all of them give; when one fails or the caller leaves, cancel all.

    Args:
        awaitables: What to wait for.
    """
    if len(awaitables) < 2:
        return [await each for each in awaitables]
    futures = [asyncio.ensure_future(each) for each in awaitables]
    try:
        return await asyncio.gather(*futures)
    finally:
        for future in futures:
            future.cancel()
