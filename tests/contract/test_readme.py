"""README and docs say what the code does: tables, commands, and calls in Python."""

import argparse
import re
import shlex
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from diffmask_service import cli
from diffmask_service.config import ServiceConfig, read_config, shown_default
from diffmask_service.transport.http.console.calls import HTTP_STATUS_BY_CODE
from tests.support.process import running_server

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
README = PAGES[0].read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
PROTOCOLS = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str, page: str = TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[list[str]]:
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    # What a shell would redirect is not the program's.
    parsed = [shlex.split(re.split("[<>]", line)[0], comments=True) for line in lines]
    return [words[1:] for words in parsed if words and words[0] == program]


def table(header: str) -> list[str]:
    """Return the rows under the header and rule of an operator's table."""
    found = re.search(
        rf"^{re.escape(header)}\n\|[- |]+\n((?:\|.*\n)+)", OPERATIONS, re.M
    )
    assert found is not None, f"there is no table {header}"
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
    meaning = setting.metadata["meaning"]
    return f"| `{setting.name}` | {shown_default(setting)} | {values} | {meaning} |"


def test_settings_table_is_the_configuration() -> None:
    expected = [setting_row(setting) for setting in fields(ServiceConfig)]
    assert table("| setting | default | values | meaning |") == expected, (
        "write these rows into docs/operations.md:\n" + "\n".join(expected)
    )


def test_table_of_http_statuses_is_the_console_s() -> None:
    rows = (
        re.findall(r"`(\w+)`|\| (\d+) \|", row)
        for row in table("| refused with | HTTP status |")
    )
    shown = {name: int(row[-1][1]) for row in map(list, rows) for name, _ in row[:-1]}
    assert shown == {code.name: status for code, status in HTTP_STATUS_BY_CODE.items()}


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
    assert set(re.findall(r"`make ([a-z-]+)`", TEXT)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[a-z-]+)?\)", text)
    missing = [each for each in targets if not (page.parent / each).exists()]
    assert missing == []


def test_call_in_python_works(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python", README)
    with running_server(tiny_directory) as server:
        exec(code.replace("127.0.0.1:8081", server.grpc_target), {})
    shown = capsys.readouterr().out
    assert shown.startswith("positive 0.9")
    assert "fun" in shown


def test_stream_shown_answers_as_shown(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = blocks("python", PROTOCOLS)
    with running_server(tiny_directory) as server:
        exec(code.replace("127.0.0.1:8081", server.grpc_target), {})
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "['positive']"
    assert second == "refused: inputs[0].text is empty; send at least one word"
    assert re.fullmatch(r"\['(positive|negative)'\]", third)


def test_call_by_triton_shown_works(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, code = blocks("python", PROTOCOLS)
    with running_server(tiny_directory) as server:
        target = code.replace("127.0.0.1:8081", server.grpc_target)
        exec(target.replace("sst2-minilm", "tiny"), {})
    assert capsys.readouterr().out.startswith("label\n[b'positive'")
