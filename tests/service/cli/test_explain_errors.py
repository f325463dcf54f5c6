"""What `explain` says when it cannot."""

from pathlib import Path

import grpc
import pytest

from tests.support.command_line import fails, read_from
from tests.support.stub_server import Stub


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("tsv", b"a\tb\nc\td\te\n", "line 2: has 2 tabs"),
        ("jsonl", b"{}\n", "line 1: is not like"),
        ("jsonl", b'{"text": "a", "pair": "b"}\n', "`pair`"),
        ("jsonl", b"good movie\n", "line 1: is not like"),
    ],
)
def test_explain_names_the_line_that_is_no_pair(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    content: bytes,
    message: str,
) -> None:
    read_from(monkeypatch, content)
    assert message in fails(["explain", "-", "--input-format", kind], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["", "--words"], "is empty"),
        (["good \udcff"], "surrogate"),
        (["good", "--states", "attic"], "attic"),
        (["good", "--verify-states", "attic"], "attic"),
        (["good", "--pair", "bad"], "text_pair"),
        (["good " * 50], "tokens"),
        (["-", "--pair", "x"], "--pair"),
        (["good", "--html", "/nowhere/page.html"], "/nowhere/page.html"),
        (["good", "--model", "m"], "--model, --version: choose among"),
        (["good", "--version", "1"], "--model, --version: choose among"),
        (["good", "--precision", "int8"], "int8"),
    ],
)
def test_explain_names_what_is_wrong(
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    bundle = ["--bundle", str(tiny_directory)]
    assert message in fails(["explain", *bundle, *words], capsys)


def test_explain_names_the_line_that_is_not_text(
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_from(monkeypatch, b"good\nb\xff\n")
    message = fails(["explain", "-", "--bundle", str(tiny_directory)], capsys)
    assert "standard input, line 2: is not UTF-8 at byte 1" in message


def test_explain_refuses_empty_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from(monkeypatch, b"\n \n")
    assert "holds no text" in fails(["explain", "-"], capsys)


def test_explain_says_that_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(["explain", "a", "--server", "127.0.0.1:1"], capsys)
    assert "127.0.0.1:1 is not ready" in message


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--precision", "fp32"], "--precision: goes with --bundle"),
        (["--token-file", "/nowhere"], "--token-file /nowhere: cannot be read"),
        (["--tls-roots", "/nowhere"], "/nowhere: cannot be read"),
        (["--tls-certificate", "/nowhere"], "go together"),
    ],
)
def test_explain_names_the_flag_that_is_wrong(
    capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert message in fails(["explain", "a", *flags], capsys)


def test_explain_says_why_the_server_refused(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.status = grpc.StatusCode.INVALID_ARGUMENT
    message = fails(["explain", "a", "--server", stub.target], capsys)
    assert message == "diffmask: the reason\n"
