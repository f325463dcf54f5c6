"""When the repository looks at its source again: on a trigger, and by the clock."""

import asyncio
import logging

from diffmask_service.errors import DiffMaskError
from diffmask_service.repository.repository import Repository

_LOG = logging.getLogger(__name__)


async def watch(
    repository: Repository, trigger: asyncio.Event, *, poll_seconds: float
) -> None:
    """Refresh a repository whenever it is time; runs until it is cancelled.

    Args:
        repository: What to refresh.
        trigger: Set to have it refreshed now, what failed before included.
        poll_seconds: Time between two looks, seconds; 0 for none but the triggered.
    """
    while True:
        is_triggered = await _next(trigger, poll_seconds)
        try:
            await repository.refresh(retry=is_triggered)
        except DiffMaskError as error:
            _LOG.warning("the models stay as they are: %s", error)


async def _next(trigger: asyncio.Event, poll_seconds: float) -> bool:
    try:
        async with asyncio.timeout(poll_seconds or None):
            await trigger.wait()
    except TimeoutError:
        return False
    trigger.clear()
    return True
