"""What holds for every command."""

from pathlib import Path

import pytest

from diffmask_service.cli import main
from tests.support.command_line import command


@pytest.mark.parametrize(
    "words",
    [
        ["explain"],
        ["explain", "a", "--top-k", "0"],
        ["explain", "a", "--gates", "inputs"],
        ["explain", "a", "--states", "b,,c"],
        ["explain", "a", "--states", "b,b"],
        ["explain", "a", "--timeout-seconds", "nan"],
        ["explain", "a", "--bundle", "b", "--server", "c:1"],
        ["divine"],
        [],
    ],
)
def test_wrong_command_line_prints_the_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: diffmask" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["serve", "explain", "audit", "inspect", "healthcheck"]
)
def test_help_explains_every_flag(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "--help" in capsys.readouterr().out


def test_reader_that_leaves_early_is_no_error(tiny_directory: Path) -> None:
    words = ["explain", "good " * 8, "--bundle", str(tiny_directory), "--json"]
    with command(*words) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, message = process.communicate()
    assert process.returncode == 141
    assert message == ""
