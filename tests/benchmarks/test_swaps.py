"""Short forms of swaps and restarts, against real servers, by counts."""

from pathlib import Path

import pytest

from benchmarks.swaps import Repository, describe, restart, swap


@pytest.fixture
def repository(tiny_directory: Path, tmp_path: Path) -> Repository:
    return Repository(tiny_directory, tmp_path)


def test_swaps_fail_nobody_and_every_version_answers(repository: Repository) -> None:
    figures = swap(repository, 2, num_callers=2)
    assert figures["failed"] == {}
    assert figures["versions"] == 3
    assert figures["answered"] >= 100
    assert repository.last_version == 3


@pytest.mark.slow
def test_restarts_fail_nobody(repository: Repository) -> None:
    figures = restart(repository, 2, num_callers=2)
    assert (figures["done"], figures["failed"], figures["versions"]) == (2, {}, 1)


def test_failures_are_counted_by_status() -> None:
    figures = {
        "swaps": {
            "done": 1,
            "answered": 7,
            "versions": 2,
            "failed": {"INTERNAL": 2, "UNKNOWN": 1},
        }
    }
    assert "| swaps | 1 | 7 | 2 | 3 | 2 INTERNAL, 1 UNKNOWN |" in describe(figures)
