"""Health checks, TLS and tokens."""

from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from diffmask_service.cli import main
from tests.support.certificates import Authority
from tests.support.command_line import TEXT
from tests.support.process import running_server
from tests.support.stub_server import Stub


@pytest.mark.parametrize(
    ("health", "status", "said"),
    [
        (health_pb2.HealthCheckResponse.SERVING, 0, "serving\n"),
        (health_pb2.HealthCheckResponse.NOT_SERVING, 1, "not serving\n"),
    ],
)
def test_healthcheck_is_what_the_server_says(
    stub: Stub,
    capsys: pytest.CaptureFixture[str],
    health: int,
    status: int,
    said: str,
) -> None:
    stub.health.set("", health)
    assert main(["healthcheck", "--server", stub.target]) == status
    assert capsys.readouterr().out == said


def test_explain_and_healthcheck_work_over_tls_with_a_token(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority()
    files = authority.write_server(tmp_path, clients=True)
    client = authority.write_client(tmp_path)
    (tmp_path / "token").write_text("a-token-0123456789\n")
    flags = [f"--tls-{name}={path}" for name, path in client.items()]
    flags += ["--token-file", str(tmp_path / "token")]
    with running_server(
        tiny_directory,
        tls_certificate=files.certificate,
        tls_key=files.key,
        tls_client_ca=files.client_ca,
        inference_token_file=tmp_path / "token",
    ) as server:
        secured = ["--server", server.grpc_target]
        assert main(["explain", TEXT, *secured, *flags]) == 0
        assert main(["healthcheck", *secured, *flags]) == 0
        # A probe that knows nothing asks the port for probes.
        assert main(["healthcheck", "--server", server.health_target]) == 0
        assert "serving" in capsys.readouterr().out
        # No certificate of ours; then no token.
        assert (
            main(
                [
                    "explain",
                    TEXT,
                    *secured,
                    "--tls-roots",
                    str(client["roots"]),
                    "--timeout-seconds",
                    "3",
                ]
            )
            == 2
        )
        assert main(["explain", TEXT, *secured, *flags[:-2]]) == 2
        assert "authorization" in capsys.readouterr().err
        status, log = server.terminate()
    assert status == 0, log
    assert "a-token" not in log


@pytest.mark.parametrize("words", [["--service", "attic"], []])
def test_healthcheck_fails_with_one_line(
    stub: Stub, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    target = stub.target if words else "127.0.0.1:1"
    assert main(["healthcheck", "--server", target, *words]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", ["explain", "healthcheck"])
def test_a_token_comes_out_of_a_file(
    stub: Stub, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("a-token-0123456789\n")
    words = {"explain": ["a"], "healthcheck": []}[command]
    flags = ["--server", stub.target, "--token-file", str(tmp_path / "token")]
    assert main([command, *words, *flags]) in (0, 1)
    if command == "explain":
        assert stub.metadata[0]["authorization"] == "Bearer a-token-0123456789"
    assert "a-token" not in capsys.readouterr().err
