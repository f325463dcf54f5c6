import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from diffmask_service.bundle import Bundle, write_bundle
from diffmask_service.cli import main
from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    GateKind,
    Granularity,
    TextInput,
)
from tests.support.certificates import Authority
from tests.support.process import running_server
from tests.support.stub_server import DESCRIPTION, Stub, serving

TEXT = "good movie"


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub


def read_from(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_explain_runs_a_bundle_here(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--bundle", str(tiny_directory), TEXT]) == 0
    shown = capsys.readouterr().out
    assert "positive" in shown
    assert "█1.0 █.75 ▓.50" in shown


def test_explain_asks_a_server(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_server(tiny_directory) as server:
        status = main(["explain", "--server", server.grpc_target, TEXT, "--json"])
    assert status == 0
    remote = json.loads(capsys.readouterr().out)
    main(["explain", "--bundle", str(tiny_directory), TEXT, "--json"])
    local = json.loads(capsys.readouterr().out)
    assert remote["explanations"] == local["explanations"]
    assert remote["model"] == local["model"]


def test_explain_flags_become_options(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--gates", "input", "--states", "block_2,block_1", "--words"]
    flags += ["--top-k", "3", "--truncate", "--verify-states", "block_1"]
    flags += ["--when-labels", "good,bad", "--when-below", "0.9"]
    flags += ["--when-at-least", "0.5", "--when-entropy", "0.1"]
    place = ["--server", stub.target]
    assert main(["explain", "a", "--pair", "b", *place, *flags]) == 0
    (call,) = stub.calls
    assert call.inputs == (TextInput(text="a", text_pair="b"),)
    assert call.options == ExplainOptions(
        gates=frozenset({GateKind.INPUT}),
        states=("block_2", "block_1"),
        granularity=Granularity.WORDS,
        top_k=3,
        truncate=True,
        verify=True,
        verify_states=("block_1",),
        explain_when=ExplainWhen(
            labels=("good", "bad"),
            probability_below=0.9,
            probability_at_least=0.5,
            entropy_at_least=0.1,
        ),
    )
    capsys.readouterr()


def test_explain_without_gates_asks_for_the_prediction_alone(stub: Stub) -> None:
    main(["explain", "a", "--server", stub.target, "--gates", "none"])
    assert stub.calls[0].options.gates == frozenset()


def test_explain_reads_lines_from_standard_input(
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # More than fit one call.
    read_from(monkeypatch, b"good\n\nbad movie\n" + b"dull\n" * 40)
    assert main(["explain", "-", "--bundle", str(tiny_directory), "--json"]) == 0
    explanations = json.loads(capsys.readouterr().out)["explanations"]
    assert [item["text"] for item in explanations[:3]] == ["good", "bad movie", "dull"]
    assert len(explanations) == 42


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("tsv", b"\na\tb\r\n", TextInput(text="a", text_pair="b")),
        ("tsv", b"a b\n", TextInput(text="a b")),
        (
            "jsonl",
            b'{"text": "a\\t", "text_pair": "b"}\n\n',
            TextInput(text="a\t", text_pair="b"),
        ),
        ("jsonl", b'{"text": "a b"}', TextInput(text="a b")),
    ],
)
def test_explain_reads_pairs_from_standard_input(
    stub: Stub,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    content: bytes,
    expected: TextInput,
) -> None:
    read_from(monkeypatch, content)
    flags = ["--input-format", kind, "--json"]
    assert main(["explain", "-", "--server", stub.target, *flags]) == 0
    assert stub.calls[0].inputs == (expected,)


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


def test_explain_asks_for_one_version_of_a_model(stub: Stub) -> None:
    flags = ["--model", "m", "--version", "7"]
    main(["explain", "a", "--server", stub.target, *flags])
    (call,) = stub.calls
    assert call.model == "m"
    # As the server described it: what answers is what was asked about.
    assert call.version == DESCRIPTION.identity.version


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


def test_explain_writes_a_page_and_nothing_beside_it(
    tiny_directory: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("older")
    bundle = ["--bundle", str(tiny_directory)]
    assert main(["explain", TEXT, *bundle, "--html", str(page)]) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [page]


def fails(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert not captured.out
    assert "Traceback" not in captured.err
    assert captured.err.startswith("diffmask: ")
    assert captured.err.count("\n") == 1
    return captured.err


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


def test_inspect_shows_the_card_and_passes_a_good_bundle(
    tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tiny_directory)]) == 0
    shown = capsys.readouterr().out
    for expected in ("tiny version", "negative, positive", "block_1", "Provenance"):
        assert expected in shown
    assert shown.count("  ok    ") >= 3
    assert "FAIL" not in shown


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "tokenizer.json", "selftest.json", "README.md"]
)
def test_inspect_names_the_file_with_a_flipped_byte(
    name: str,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(tiny_directory, spoilt)
    content = bytearray((spoilt / name).read_bytes())
    content[-1] ^= 1
    (spoilt / name).write_bytes(content)
    assert main(["inspect", str(spoilt)]) == 1
    shown = capsys.readouterr().out
    assert f"FAIL  {name}" in shown


def test_inspect_names_the_self_test_that_fails(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = replace(tiny_bundle.selftest.cases[0], logits=(7.0, -7.0))
    selftest = replace(tiny_bundle.selftest, cases=(case,))
    files = {**tiny_bundle.files, "selftest.json": selftest.to_json()}
    write_bundle(tmp_path / "other", tiny_bundle.manifest, files)
    assert main(["inspect", str(tmp_path / "other")]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  model.fp32.onnx: selftest.json, case 0: logits differs by" in shown


def test_inspect_names_the_graph_that_is_none(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {**tiny_bundle.files, "model.fp32.onnx": b"not a graph"}
    write_bundle(tmp_path / "other", tiny_bundle.manifest, files)
    assert main(["inspect", str(tmp_path / "other")]) == 1
    assert "FAIL  model.fp32.onnx: not an ONNX graph" in capsys.readouterr().out


def test_inspect_says_that_nothing_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path / "none")]) == 1
    assert "no such directory" in capsys.readouterr().out


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


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "diffmask_service", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("DIFFMASK_")},
    )


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


def test_reader_that_leaves_early_is_no_error(tiny_directory: Path) -> None:
    words = ["explain", "good " * 8, "--bundle", str(tiny_directory), "--json"]
    with command(*words) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, message = process.communicate()
    assert process.returncode == 141
    assert message == ""
