import pytest

from diffmask_service.engine.budget import TokenBudget
from diffmask_service.engine.limits import EngineLimits
from diffmask_service.errors import OverloadedError


@pytest.fixture
def used() -> list[int]:
    return []


@pytest.fixture
def budget(used: list[int]) -> TokenBudget:
    return TokenBudget(
        EngineLimits(queue_tokens=100),
        estimate_seconds=lambda n: n * 0.01,
        on_change=used.append,
    )


def test_permits_add_up_and_are_given_back(
    budget: TokenBudget, used: list[int]
) -> None:
    first, second = budget.take(60), budget.take(40)
    first.release()
    first.release()
    second.settle(10)
    second.release()
    assert used == [60, 100, 40, 40, 10, 0]


def test_a_full_budget_refuses_with_the_time_the_excess_takes(
    budget: TokenBudget,
) -> None:
    budget.take(80)
    with pytest.raises(OverloadedError, match="80 of 100 tokens") as raised:
        budget.take(50)
    assert raised.value.retry_after_seconds == pytest.approx(0.3)


@pytest.mark.parametrize(("num_tokens", "hint"), [(21, 0.05), (10_000, 5.0)])
def test_the_hint_stays_within_reason(
    budget: TokenBudget, num_tokens: int, hint: float
) -> None:
    budget.take(80)
    with pytest.raises(OverloadedError) as raised:
        budget.take(num_tokens)
    assert raised.value.retry_after_seconds == hint


def test_a_request_over_the_capacity_is_admitted_when_idle(budget: TokenBudget) -> None:
    budget.take(1000).release()
