"""Whole replays, through the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffmask_service.cli import main
from tests.support.audits import random_texts, write_csv
from tests.support.process import running_server
from tests.support.tiny import write_tiny_bundle, write_tiny_pair_bundle
from tests.support.tiny_tasks import write_tiny_bundles

TASKS = (
    "text_classification",
    "multi_label_classification",
    "regression",
    "token_classification",
    "question_answering",
    "pairs",
)
TAKES_PAIRS = ("question_answering", "pairs")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def explain(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Path]:
    def ask(*flags: str, place: tuple[str, str] | None = None) -> Path:
        place = place or ("--bundle", str(tiny_directory))
        capsys.readouterr()
        assert main(["explain", "a funny movie", *place, "--json", *flags]) == 0
        path = tmp_path / "reply.json"
        path.write_text(capsys.readouterr().out)
        return path

    return ask


def audit(folder: Path, bundle: Path, *flags: str, is_pair: bool = False) -> Path:
    texts = random_texts(12)
    rows = [[text, texts[-1 - index]] for index, text in enumerate(texts)]
    source = write_csv(folder.with_suffix(".csv"), [["text", "pair"], *rows])
    words = ["--bundle", str(bundle), "--output", str(folder), *flags]
    if is_pair:
        words += ["--pair-column", "pair", "--truncate"]
    assert main(["audit", str(source), "--rows-per-part", "5", *words]) == 0
    return folder


def replay(path: Path, bundle: Path, *flags: str) -> int:
    return main(["replay", str(path), "--bundle", str(bundle), *flags])


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--words", "--top-k", "2"),
        ("--states", "block_1,embeddings", "--gates", "hidden"),
        ("--gates", "none"),
        ("--verify-states", "block_1"),
        ("--when-labels", "negative"),
    ],
)
def test_a_reply_gives_the_same_bits_whatever_was_asked(
    flags: tuple[str, ...],
    explain: Callable[..., Path],
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert replay(explain(*flags), tiny_directory) == 0
    assert "same: 1 explanation, bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize("task", TASKS)
def test_replies_of_every_task_give_the_same_bits(
    task: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = ["--pair", "good movie"] if task in TAKES_PAIRS else []
    place = ["--bundle", str(bundles[task])]
    assert main(["explain", "a bad movie", *pair, *place, "--verify", "--json"]) == 0
    path = tmp_path / "reply.json"
    path.write_text(capsys.readouterr().out)
    assert replay(path, bundles[task]) == 0


@pytest.mark.parametrize("task", TASKS)
def test_audits_of_every_task_give_the_same_bits(
    task: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = audit(tmp_path / "audit", bundles[task], is_pair=task in TAKES_PAIRS)
    assert replay(folder, bundles[task]) == 0
    assert "same: all 12 explanations, bit for bit" in capsys.readouterr().out


def test_a_server_gives_the_bits_of_its_bundle(
    explain: Callable[..., Path], tiny_directory: Path, tmp_path: Path
) -> None:
    folder = audit(tmp_path / "audit", tiny_directory)
    here = explain("--verify")
    with running_server(tiny_directory) as server:
        place = ("--server", server.grpc_target)
        assert main(["replay", str(here), *place]) == 0
        assert main(["replay", str(folder), *place]) == 0
        there = explain("--verify", place=place)
    assert replay(there, tiny_directory) == 0


def test_a_changed_gate_is_found_in_a_reply(
    explain: Callable[..., Path],
    tiny_directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = explain()
    value = json.loads(path.read_bytes())
    # The gate of `fun` in the last state is 0.75 times 0.5.
    assert value["explanations"][0]["input_gates"][2][2] == 0.375
    value["explanations"][0]["input_gates"][2][2] = 0.25
    path.write_text(json.dumps(value))
    assert replay(path, tiny_directory) == 1
    told = capsys.readouterr().out
    assert "different: 1 of 1 explanations" in told
    assert "largest difference of gates: 0.125, in explanation 0" in told
    assert "input_gates: block_1, token 2 'fun': was 0.25, is 0.375" in told
    assert replay(path, tiny_directory, "--tolerance", "0.125") == 0
    assert "within 0.125" in capsys.readouterr().out


def _rewrite(part: Path, column: str, values: Callable[[list[Any]], None]) -> None:
    table = pq.read_table(part)
    changed = table.column(column).to_pylist()
    values(changed)
    index, field = table.schema.get_field_index(column), table.schema.field(column)
    pq.write_table(table.set_column(index, field, pa.array(changed, field.type)), part)


def test_changed_values_are_found_in_a_part(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audit(tmp_path / "audit", tiny_directory)
    part = folder / "parts" / "part-00001.parquet"

    def add_to_gate(gates: list[Any]) -> None:
        gates[2][1][0] += 0.5

    def flip(labels: list[Any]) -> None:
        labels[0] = "negative" if labels[0] == "positive" else "positive"

    _rewrite(part, "hidden_gates", add_to_gate)
    _rewrite(part, "prediction", flip)
    assert replay(folder, tiny_directory) == 1
    told = capsys.readouterr().out
    assert "row 5 (id 5):\n  prediction: was " in told
    assert "row 7 (id 7):\n  hidden_gates: embeddings, token 0 '[CLS]': was " in told
    assert "different: 2 of 12 explanations" in told
    assert "largest difference of gates: 0.5, in row 7 (id 7)" in told
    assert replay(part, tiny_directory, "--row", "6") == 0
    assert replay(part, tiny_directory, "--row", "7") == 1


def test_a_sample_is_of_its_size_and_of_all_parts(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audit(tmp_path / "audit", tiny_directory)

    def add(scores: list[Any]) -> None:
        scores[:] = [[score + 1 for score in each] for each in scores]

    for part in (folder / "parts").iterdir():
        _rewrite(part, "scores", add)
    capsys.readouterr()
    assert replay(folder, tiny_directory, "--sample", "8", "--seed", "1") == 1
    assert "different: 8 of 8 explanations" in capsys.readouterr().out


def test_another_bundle_is_told_beside_the_same_gates(
    explain: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = explain()
    write_tiny_bundle(tmp_path / "next", version="4")
    assert replay(path, tmp_path / "next") == 1
    told = capsys.readouterr().out
    assert "version of the bundle: was 3, is 4" in told
    assert "digest of the bundle: was " in told
    assert "same: 1 explanation, bit for bit" in told


def test_rows_with_errors_are_left_out(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [["text"], ["good"], [""], ["movie " * 20], ["bad"]]
    source = write_csv(tmp_path / "texts.csv", rows)
    folder = tmp_path / "audit"
    words = ["--output", str(folder), "--bundle", str(tiny_directory)]
    assert main(["audit", str(source), *words, "--on-error", "row"]) == 0
    assert replay(folder, tiny_directory) == 0
    told = capsys.readouterr().out
    assert "left out: 2 rows that hold an error" in told
    assert "same: all 2 explanations" in told


def test_a_text_that_is_refused_now_differs(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_pair_bundle(tmp_path / "pairs")
    folder = audit(tmp_path / "audit", tmp_path / "pairs", is_pair=True)
    assert replay(folder, tiny_directory) == 1
    told = capsys.readouterr().out
    assert "explanation: was given, is not any more: inputs[0] has a text_pair" in told
    assert "different: 12 of 12" in told


def test_a_model_of_other_labels_differs(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audit(tmp_path / "audit", bundles["text_classification"])
    assert replay(folder, bundles["multi_label_classification"]) == 1
    assert "prediction: was '" in capsys.readouterr().out


def test_hashed_texts_cannot_be_replayed(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = audit(tmp_path / "audit", tiny_directory, "--hash-texts")
    assert replay(folder, tiny_directory) == 2
    assert "replay an audit without --hash-texts" in capsys.readouterr().err


EMPTY = {
    "format": 1,
    "model": {"id": "tiny", "version": "3", "digest": "", "precision": "fp32"},
    "options": {},
    "states": [],
    "explanations": [],
}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("reply.json", json.dumps(EMPTY).encode(), "holds no explanation"),
        ("reply.json", json.dumps({**EMPTY, "format": 2}).encode(), "is of format 2"),
        ("reply.json", b"{}", "is not what `diffmask explain --json` writes"),
        ("reply.json", b"\xff\xfe", "is not what `diffmask explain --json` writes"),
        ("part.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_another_file_is_refused(
    name: str,
    content: bytes,
    told: str,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert replay(path, tiny_directory) == 2
    assert told in capsys.readouterr().err


def test_a_table_of_something_else_is_refused(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"text": ["good"]}), path)
    assert replay(path, tiny_directory) == 2
    assert "is not a part of an audit" in capsys.readouterr().err


def test_a_row_that_is_not_there_is_told(
    explain: Callable[..., Path],
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert replay(explain(), tiny_directory, "--row", "1") == 2
    assert "holds no row 1" in capsys.readouterr().err
    folder = audit(tmp_path / "audit", tiny_directory)
    assert replay(folder, tiny_directory, "--row", "12") == 2
    assert "holds no row 12" in capsys.readouterr().err
