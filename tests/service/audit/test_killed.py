"""An audit that is killed at any moment ends as if it had not been."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from diffmask_service.cli import main
from tests.support.audits import contents, random_texts, write_csv

_ROOT = Path(__file__).parents[3]


def _command(source: Path, folder: Path, bundle: Path) -> list[str]:
    flags = {"--output": folder, "--bundle": bundle, "--rows-per-part": 10}
    words = [str(word) for pair in flags.items() for word in pair]
    return ["audit", str(source), *words, "--workers", "1"]


def _run(moment: object, command: list[str]) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.support.killed_audit", str(moment), *command],
        cwd=_ROOT,
        check=False,
        capture_output=True,
    ).returncode


def test_a_killed_audit_goes_on_to_the_same_bytes(
    tiny_directory: Path, tmp_path: Path
) -> None:
    rows = [["text"], *([text] for text in random_texts(95))]
    source = write_csv(tmp_path / "texts.csv", rows)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(_command(source, whole, tiny_directory)) == 0

    command = _command(source, killed, tiny_directory)
    chance = random.Random(3)
    # Of a whole run's some forty events.
    for moment in [chance.randint(2, 9) for _ in range(10)]:
        assert _run(moment, command) == -signal.SIGKILL
    assert _run("midway", command) == -signal.SIGXFSZ
    assert 0 < len(contents(killed)) < len(contents(whole))
    assert main(command) == 0

    assert contents(killed) == contents(whole)
    # Once more finds all of it done.
    assert main(command) == 0
    assert contents(killed) == contents(whole)

    assert _run("report.html", command) == -signal.SIGKILL
    assert len(contents(killed)) == len(contents(whole)) + 1
    assert main(command) == 0
    assert contents(killed) == contents(whole)
