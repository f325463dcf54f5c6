"""Short forms of every scenario, against real servers, by counts."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos import (
    broken_promises,
    cancel,
    describe,
    fill,
    kill,
    leave_unread,
    roll,
)


@pytest.mark.slow
async def test_a_killed_server_is_missed_by_nobody_who_retries(
    tiny_directory: Path,
) -> None:
    figures = await kill(tiny_directory, calls=40, retries=True)
    assert figures["failed"] == 0
    assert figures["calls"] >= 120
    # Of a busy machine nothing is promised in seconds.
    broken = broken_promises({"killed": figures})
    assert [line for line in broken if "seconds" not in line] == []


@pytest.mark.slow
async def test_servers_stopped_in_turn_lose_no_call(tiny_directory: Path) -> None:
    figures = await roll(tiny_directory, rounds=2, calls=40)
    assert figures["stops"] == 2
    assert broken_promises({"rolled": figures}) == []


async def test_texts_of_those_who_left_are_not_run_for_nobody(
    tiny_directory: Path,
) -> None:
    figures = await cancel(tiny_directory, calls=100, within_seconds=0.0)
    assert figures["cancelled"] > 0
    assert figures["texts answered"] <= figures["texts run"] < figures["texts sent"]
    assert broken_promises({"cancelled": figures}) == []


async def test_answers_that_nobody_reads_hold_nobody_up(tiny_directory: Path) -> None:
    figures = await leave_unread(tiny_directory, readers=3, calls=50)
    assert figures["calls never read"] == 60
    assert broken_promises({"unread": figures}) == []


async def test_a_full_queue_answers_or_refuses_everybody(tiny_directory: Path) -> None:
    figures = await fill(tiny_directory, calls=60, queue_tokens=24)
    assert figures["answered"] + figures["refused"] == 60
    assert figures["refused"] > 0
    assert broken_promises({"full": figures}) == []


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        (
            {"rolled": {"failed": 3, "ended badly": 0}},
            "- rolled: failed may be 0 at most and is 3",
        ),
        (
            {
                "killed": {
                    "failed, begun after the kill": 0,
                    "seconds from ready to the first answer": 5.1,
                }
            },
            "- killed: seconds from ready to the first answer may be 5 at most and"
            " is 5.1",
        ),
    ],
)
def test_a_broken_promise_is_named(figures: dict[str, Any], line: str) -> None:
    assert broken_promises(figures) == [line]
    assert line in describe(figures)
