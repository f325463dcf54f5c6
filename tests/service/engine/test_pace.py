import pytest

from diffmask_service.engine.pace import Pace


def test_a_guess_stands_until_the_first_run() -> None:
    pace = Pace()
    assert not pace.is_measured
    assert pace.token_seconds > 0
    pace.note(num_tokens=4, seconds=2.0)
    assert pace.token_seconds == pytest.approx(0.5)
    assert not pace.is_measured


def test_one_run_in_a_thousand_times_its_time_changes_nothing() -> None:
    pace = Pace()
    for _ in range(8):
        pace.note(num_tokens=10, seconds=1.0)
    pace.note(num_tokens=10, seconds=1000.0)
    assert pace.is_measured
    assert pace.token_seconds == pytest.approx(0.1)


def test_a_wrong_pace_is_mended_by_sixteen_runs() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.note(num_tokens=1, seconds=1e6)
    for _ in range(17):
        pace.note(num_tokens=1, seconds=1.0)
    assert pace.token_seconds == pytest.approx(1.0)
