import pytest

from diffmask_service.transport.grpc.deadlines import deadline_of

NOW = 100.0
YEAR_SECONDS = 365.0 * 86_400.0


@pytest.mark.parametrize(
    ("remaining", "timeout", "deadline"),
    [
        (None, None, None),
        (3.0, None, NOW + 3.0),
        (None, 2.0, NOW + 2.0),
        (3.0, 2.0, NOW + 2.0),
        (3.0, 4.0, NOW + 3.0),
        # Over already: the engine refuses it.
        (0.0, 2.0, NOW),
        # Longer than anybody may wait, but named: the engine bounds it.
        (2 * 86_400.0, None, NOW + 2 * 86_400.0),
        (None, 30 * 86_400.0, NOW + 30 * 86_400.0),
        # What gRPC says for none.
        (292 * YEAR_SECONDS, None, None),
        (292 * YEAR_SECONDS, 2.0, NOW + 2.0),
    ],
)
def test_the_earlier_deadline_holds_and_none_is_not_a_late_one(
    remaining: float | None, timeout: float | None, deadline: float | None
) -> None:
    assert deadline_of(NOW, remaining, timeout) == deadline
