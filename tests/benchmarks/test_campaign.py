"""What is recorded is not run again."""

import argparse
import sys
from pathlib import Path

import pytest

from benchmarks.campaign import RUNS, Run, carry_out
from benchmarks.results import store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    arguments = argparse.Namespace(to=tmp_path, bundle=Path("a/sst2"), rounds=3)
    store("start", {}, arguments=arguments)
    return tmp_path


@pytest.mark.parametrize(
    ("run", "is_recorded"),
    [
        (Run(name="start"), True),
        (Run(name="start", flags={"rounds": 3}), True),
        (Run(name="start", flags={"rounds": 9}), False),
        (Run(name="start", flags={"bundle": Path("b/sst2")}), True),
        (Run(name="fuzz"), False),
    ],
)
def test_a_run_is_known_by_its_flags(
    results: Path, run: Run, is_recorded: bool
) -> None:
    assert run.is_recorded(results) is is_recorded


def test_flags_become_a_command() -> None:
    command = Run(name="fuzz", flags={"messages": 5}).command(Path("b"), Path("r"))
    script = [sys.executable, "-m", "benchmarks.fuzz"]
    assert command == [*script, "--bundle", "b", "--to", "r", "--messages", "5"]


def test_every_run_has_its_script_and_is_there_once() -> None:
    names = [run.name for run in RUNS]
    assert len(set(names)) == len(names)
    folder = Path(__file__).parents[2] / "benchmarks"
    assert all((folder / f"{name}.py").exists() for name in names)


def test_one_failure_does_not_keep_the_others_back(
    results: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = [
        Run(name="isolation", flags={"no-such-flag": 1}),
        Run(name="start"),
        Run(name="chaos", flags={"no-such-flag": 1}),
    ]
    failed = carry_out(runs, bundle=results / "none", results=results)
    assert failed == ["isolation", "chaos"]
    assert "start: is recorded" in capfd.readouterr().out
