"""When a caller gives up, on the clock of the engines."""

# Without a deadline gRPC reports one some 290 years ahead. Thirty years are one: too
# late to be granted, but not the same as none, for which the default holds.
_NO_DEADLINE_SECONDS = 1e9


def deadline_of(
    now: float, remaining_seconds: float | None, timeout_seconds: float | None = None
) -> float | None:
    """Return the deadline of a request, the earlier of two; None for neither.

    Args:
        now: Monotonic time, seconds.
        remaining_seconds: What gRPC says is left of the call.
        timeout_seconds: What the request itself allows, seconds; None for no limit.
    """
    limits = [
        seconds
        for seconds in (remaining_seconds, timeout_seconds)
        if seconds is not None and seconds <= _NO_DEADLINE_SECONDS
    ]
    return now + min(limits) if limits else None
