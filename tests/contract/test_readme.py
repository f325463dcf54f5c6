"""The README says what the code does: tables, commands, and the call in Python."""

import argparse
import re
import shlex
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from diffmask_service import cli
from diffmask_service.config import ServiceConfig, read_config
from tests.support.process import running_server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
_DEFAULTS = {"": "empty", ".": "none", "True": "true", "False": "false"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[list[str]]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    # What a shell would redirect is not the program's.
    parsed = [shlex.split(line.partition("<")[0], comments=True) for line in lines]
    return [words[1:] for words in parsed if words and words[0] == program]


def table(header: str) -> list[str]:
    """Return the rows under a table's header and rule."""
    found = re.search(rf"^{re.escape(header)}\n\|[- |]+\n((?:\|.*\n)+)", README, re.M)
    assert found is not None, f"the README has no table {header}"
    return found[1].splitlines()


def setting_row(setting: Field[Any]) -> str:
    allowed = setting.metadata["choices"]
    low, high = setting.metadata["at_least"], setting.metadata["at_most"]
    if allowed:
        values = ", ".join(value for value in allowed if value)
    elif low is not None:
        values = f"{low} to {high}"
    else:
        values = "true, false" if isinstance(setting.default, bool) else "any"
    default = _DEFAULTS.get(str(setting.default), str(setting.default))
    meaning = setting.metadata["meaning"]
    return f"| `{setting.name}` | {default} | {values} | {meaning} |"


def test_settings_table_is_the_configuration() -> None:
    expected = [setting_row(setting) for setting in fields(ServiceConfig)]
    assert table("| setting | default | values | meaning |") == expected, (
        "write these rows into the README:\n" + "\n".join(expected)
    )


@pytest.mark.parametrize("words", commands("diffmask"), ids=" ".join)
def test_service_command_parses(words: list[str]) -> None:
    # The command line's own parser, short of carrying the command out.
    arguments = cli._parser(words[0], cli._load(words[0])).parse_args(words)
    assert isinstance(arguments, argparse.Namespace)
    if words[0] == "serve":
        read_config(vars(arguments), {})


@pytest.mark.parametrize("words", commands("diffmask-train"), ids=" ".join)
def test_training_command_parses(words: list[str]) -> None:
    pytest.importorskip("torch")
    from diffmask_training import cli as training_cli  # noqa: PLC0415
    from diffmask_training import config  # noqa: PLC0415

    training_cli._parse(words[0], words[1:], config)


def test_every_command_is_shown() -> None:
    assert {words[0] for words in commands("diffmask")} == set(cli._SUMMARY_BY_COMMAND)


def test_every_target_named_is_in_the_makefile() -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", rules, re.MULTILINE))
    assert {words[0] for words in commands("make")} <= targets
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", README))
def test_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_call_in_python_works(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    with running_server(tiny_directory) as server:
        exec(code.replace("127.0.0.1:8081", server.grpc_target), {})
    shown = capsys.readouterr().out
    assert shown.startswith("positive 0.9")
    assert "fun" in shown
