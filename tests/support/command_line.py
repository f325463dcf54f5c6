"""The command in this process and in one of its own."""

import io
import os
import subprocess
import sys

import pytest

from diffmask_service.cli import main

TEXT = "good movie"


def read_from(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put bytes on the standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that fails with one message, and return that."""
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert "Traceback" not in captured.err
    assert captured.err.startswith("diffmask: ")
    assert captured.err.count("\n") == 1
    return captured.err


def command(*words: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "diffmask_service", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("DIFFMASK_")},
    )
