"""How requests end, and why some are turned away."""

import asyncio

from diffmask_service.errors import (
    DeadlineError,
    NotReadyError,
    OverloadedError,
    RequestError,
)

OUTCOMES = (
    "ok",
    "invalid",
    "overloaded",
    "not_ready",
    "expired",
    "cancelled",
    "failed",
)
REJECTIONS = ("queue_full", "draining", "late")
EXPIRY_STAGES = ("queue", "infer")
RELEASES = ("full", "tokens", "idle")


def outcome_of(error: BaseException) -> str:
    """Return which of `OUTCOMES` a request that ended in an error had."""
    outcomes: tuple[tuple[type[BaseException], str], ...] = (
        (RequestError, "invalid"),
        (OverloadedError, "overloaded"),
        (NotReadyError, "not_ready"),
        (DeadlineError, "expired"),
        (asyncio.CancelledError, "cancelled"),
    )
    return next((name for kind, name in outcomes if isinstance(error, kind)), "failed")
