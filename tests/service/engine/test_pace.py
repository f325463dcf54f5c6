import pytest

from diffmask_service.engine.pace import Pace


def test_a_guess_stands_until_the_first_run() -> None:
    pace = Pace()
    assert not pace.is_measured
    assert pace.token_seconds > 0
    pace.note(num_tokens=4, seconds=2.0)
    assert pace.token_seconds == pytest.approx(0.5)
    assert not pace.is_measured


def test_long_runs_count_for_their_tokens() -> None:
    pace = Pace()
    pace.note(num_tokens=1, seconds=1.0)
    pace.note(num_tokens=9, seconds=3.0)
    assert pace.token_seconds == pytest.approx(0.4)


def test_runs_whose_processor_was_taken_away_now_and_then_are_not_passed_over() -> None:
    pace = Pace()
    for number in range(32):
        pace.note(num_tokens=10, seconds=1.0 if number % 4 else 3.0)
    assert pace.token_seconds == pytest.approx(0.15)


def test_one_run_in_a_thousand_times_its_time_counts_for_four() -> None:
    pace = Pace()
    for _ in range(8):
        pace.note(num_tokens=10, seconds=1.0)
    pace.note(num_tokens=10, seconds=1000.0)
    assert pace.is_measured
    assert pace.token_seconds == pytest.approx((8 + 4) / 90)


def test_a_wrong_pace_is_mostly_mended_by_half_of_the_remembered_runs() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.note(num_tokens=1, seconds=1e6)
    for _ in range(17):
        pace.note(num_tokens=1, seconds=1.0)
    assert pace.token_seconds == pytest.approx((17 + 15 * 4) / 32)
    for _ in range(15):
        pace.note(num_tokens=1, seconds=1.0)
    assert pace.token_seconds == pytest.approx(1.0)
