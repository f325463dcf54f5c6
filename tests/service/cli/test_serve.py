"""What `serve` prints, and that it stops."""

from pathlib import Path

import pytest

from diffmask_service.cli import main
from tests.support.command_line import TEXT, command


def test_serve_prints_its_settings(
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIFFMASK_QUEUE_TOKENS", "77")
    words = ["serve", "--bundle", str(tiny_directory), "--max-texts", "5"]
    assert main([*words, "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "max_texts = 5\n" in shown
    assert "queue_tokens = 77\n" in shown


def test_serve_names_every_wrong_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--max-texts", "0", "--grpc-port", "x"]) == 2
    message = capsys.readouterr().err
    assert "--max-texts" in message
    assert "--grpc-port" in message


def test_serve_takes_the_bundle_as_other_commands_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve", "bundles/x", "--print-config"]) == 0
    assert capsys.readouterr().out.startswith("bundle = bundles/x\n")
    assert main(["serve", "bundles/x", "--bundle", "y", "--print-config"]) == 2
    assert "BUNDLE: and --bundle are both given" in capsys.readouterr().err
    assert main(["serve", "bundles/x", "--repository", "models"]) == 2
    assert "--repository are both given" in capsys.readouterr().err


def test_serve_announces_itself_answers_and_stops(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = ["--grpc-port", "0", "--metrics-port", "0"]
    with command("serve", "--bundle", str(tiny_directory), *ports) as server:
        try:
            assert server.stdout is not None
            ready = server.stdout.readline()
            target = ready.split()[3].rstrip(",")
            assert main(["healthcheck", "--server", target]) == 0
            assert main(["explain", TEXT, "--server", target]) == 0
        finally:
            server.terminate()
        server.communicate()
    assert server.returncode == 0
    assert ready.startswith("ready: gRPC on 127.0.0.1:")
    assert "positive" in capsys.readouterr().out
