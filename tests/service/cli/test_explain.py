"""What `explain` asks for and shows."""

import json
from pathlib import Path

import pytest

from diffmask_service.cli import main
from diffmask_service.core.values import (
    ExplainOptions,
    ExplainWhen,
    GateKind,
    Granularity,
    TextInput,
)
from tests.support.command_line import TEXT, read_from
from tests.support.process import running_server
from tests.support.stub_server import DESCRIPTION, Stub


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


def test_explain_asks_for_one_version_of_a_model(stub: Stub) -> None:
    flags = ["--model", "m", "--version", "7"]
    main(["explain", "a", "--server", stub.target, *flags])
    (call,) = stub.calls
    assert call.model == "m"
    # As the server described it: what answers is what was asked about.
    assert call.version == DESCRIPTION.identity.version


def test_explain_writes_a_page_and_nothing_beside_it(
    tiny_directory: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("older")
    bundle = ["--bundle", str(tiny_directory)]
    assert main(["explain", TEXT, *bundle, "--html", str(page)]) == 0
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [page]
