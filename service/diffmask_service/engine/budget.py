"""The permit that comes before any work: a bounded number of tokens in progress."""

from collections.abc import Callable

from diffmask_service.engine.limits import EngineLimits
from diffmask_service.errors import OverloadedError


class TokenBudget:
    """Tokens that may be admitted and not yet answered; lives on one event loop.

    Args:
        limits: Most tokens at a time, and the waits that a refusal may advise.
        estimate_seconds: Seconds that a number of tokens takes, for the retry hint.
        on_change: Told the number of tokens in use after each change.
    """

    def __init__(
        self,
        limits: EngineLimits,
        *,
        estimate_seconds: Callable[[int], float],
        on_change: Callable[[int], None],
    ) -> None:
        self._capacity = limits.queue_tokens
        self._limits = limits
        self._estimate_seconds = estimate_seconds
        self._on_change = on_change
        self._used = 0

    def take(self, num_tokens: int) -> "Permit":
        """Admit a request, or refuse it at once.

        A request larger than the whole budget is admitted when nothing else is in
        progress, so that whatever may be sent can be answered.

        Args:
            num_tokens: What it may need, tokens, >= 0; settle it once it is known.

        Raises:
            OverloadedError: Too many tokens are in progress.
        """
        if self._used and self._used + num_tokens > self._capacity:
            excess = self._used + num_tokens - self._capacity
            seconds = self._estimate_seconds(excess)
            raise OverloadedError(
                f"the queue is full: {self._used} of {self._capacity} tokens are in"
                f" progress and the request may need {num_tokens}; try again later",
                retry_after_seconds=self._limits.bound_retry(seconds),
            )
        self.shift(num_tokens)
        return Permit(self, num_tokens)

    def shift(self, num_tokens: int) -> None:
        """Change the number of tokens in use; called by permits alone."""
        self._used += num_tokens
        self._on_change(self._used)


class Permit:
    """A request's share of the budget."""

    def __init__(self, budget: TokenBudget, num_tokens: int) -> None:
        self._budget = budget
        self._num_tokens = num_tokens

    def settle(self, num_tokens: int) -> None:
        """Replace the estimate by what the request really needs, tokens."""
        self._budget.shift(num_tokens - self._num_tokens)
        self._num_tokens = num_tokens

    def release(self) -> None:
        """Give the share back; doing so twice changes nothing."""
        self.settle(0)
