"""Whole audits, through the command."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from diffmask_service.app import open_engine
from diffmask_service.audit import (
    AuditSettings,
    BundleAnswers,
    Columns,
    PartsHere,
    audit_limits,
    open_source,
    run_audit,
)
from diffmask_service.cli import main
from diffmask_service.errors import InvalidInput
from tests.support.audits import (
    contents,
    file_limit,
    random_texts,
    read_parts,
    write_csv,
)
from tests.support.process import running_server
from tests.support.tiny import (
    LABELS,
    STATES,
    tiny_hidden_gates,
    tiny_input_gates,
    tiny_logits,
    write_tiny_bundle,
)

TEXTS = random_texts(25)
TOO_LONG = "movie " * 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        [text, str(index % 2), "xy"[index % 3 == 0]] for index, text in enumerate(TEXTS)
    ]
    return write_csv(tmp_path / "texts.csv", [["text", "gold", "domain"], *rows])


def audit(source: Path, folder: Path, *flags: object) -> int:
    words = ["--output", folder, "--rows-per-part", 10, *flags]
    return main(["audit", str(source), *map(str, words)])


def test_rows_hold_what_the_model_says_by_arithmetic(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    assert audit(source, tmp_path / "audit", "--bundle", tiny_directory) == 0
    rows = read_parts(tmp_path / "audit")
    assert [row["text"] for row in rows] == TEXTS
    assert [row["row"] for row in rows] == list(range(25))
    assert [row["id"] for row in rows] == list(map(str, range(25)))
    for row in rows:
        logits = tiny_logits(row["tokens"])
        gates = tiny_input_gates(row["tokens"])
        np.testing.assert_array_equal(row["input_gates"], gates)
        np.testing.assert_array_equal(
            row["hidden_gates"], tiny_hidden_gates(row["tokens"])
        )
        np.testing.assert_array_equal(row["logits"], logits)
        assert row["prediction"] == LABELS[int(np.argmax(logits))]
        np.testing.assert_allclose(
            row["probabilities"], np.exp(logits) / np.exp(logits).sum(), rtol=1e-6
        )
        np.testing.assert_allclose(row["scores"], gates.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(
            row["kept_share_by_state"], (gates >= 0.5).mean(axis=1), rtol=1e-6
        )
        kept = tiny_logits(row["tokens"], kept=gates.mean(axis=0) >= 0.5)
        assert row["is_agreeing"] == (np.argmax(kept) == np.argmax(logits))
        words = [
            row["text"][start:end]
            for start, end, is_special in zip(
                row["token_starts"],
                row["token_ends"],
                row["token_is_special"],
                strict=True,
            )
            if not is_special
        ]
        assert "".join(words) == row["text"].replace(" ", "")
        assert (row["model_id"], row["model_version"]) == ("tiny", "3")
        assert row["error"] is None


def test_the_summary_is_that_of_the_rows(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    flags = ("--label-column", "gold", "--slice-column", "domain")
    assert audit(source, tmp_path / "audit", "--bundle", tiny_directory, *flags) == 0
    rows = read_parts(tmp_path / "audit")
    summary = json.loads((tmp_path / "audit" / "summary.json").read_bytes())
    divergences = [row["divergence"] for row in rows]
    assert summary["num_rows"] == 25
    assert summary["num_errors"] == 0
    assert summary["divergence_quantiles"]["0.5"] == np.quantile(
        divergences, 0.5, method="inverted_cdf"
    )

    def check(group: object, members: list[dict[str, object]]) -> None:
        def mean(values: list[object]) -> object:
            return pytest.approx(np.mean(values, axis=0))  # type: ignore[arg-type]

        gold = [LABELS[int(str(row["label"]))] for row in members]
        assert group == {
            "num_texts": len(members),
            "num_truncated": 0,
            "agreement": mean([row["is_agreeing"] for row in members]),
            "mean_divergence": mean([row["divergence"] for row in members]),
            "violation_rate": mean([row["divergence"] > 0.1 for row in members]),  # type: ignore[operator]
            "kept_share": mean([row["kept_share"] for row in members]),
            "kept_share_by_state": {
                state: mean([row["kept_share_by_state"][index] for row in members])  # type: ignore[index]
                for index, state in enumerate(STATES)
            },
            "num_labelled": len(members),
            "accuracy": mean(
                [
                    row["prediction"] == label
                    for row, label in zip(members, gold, strict=True)
                ]
            ),
        }

    check(summary["all"], rows)
    for column, groups in (("prediction", "by_label"), ("slice", "by_slice")):
        assert set(summary[groups]) == {row[column] for row in rows}
        for name, group in summary[groups].items():
            check(group, [row for row in rows if row[column] == name])


def test_a_server_gives_the_bytes_that_the_bundle_gives(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert audit(source, here, "--bundle", tiny_directory) == 0
    with running_server(tiny_directory) as server:
        assert audit(source, there, "--server", server.grpc_target) == 0
    assert contents(there / "parts") == contents(here / "parts")


def test_a_server_that_is_gone_is_told(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--server", "127.0.0.1:1", "--timeout-seconds", "1")
    assert audit(source, tmp_path / "audit", *flags) == 2
    assert "127.0.0.1:1 is not ready" in capsys.readouterr().err


def _faulty(path: Path) -> Path:
    rows = [["text"], ["good"], [""], [TOO_LONG], ["bad"], [""]]
    return write_csv(path, rows)


def test_rows_that_cannot_be_explained_become_errors(
    tiny_directory: Path, tmp_path: Path
) -> None:
    source = _faulty(tmp_path / "faulty.csv")
    flags = ("--bundle", tiny_directory, "--on-error", "row", "--rows-per-part", 3)
    assert audit(source, tmp_path / "audit", *flags) == 0
    rows = read_parts(tmp_path / "audit")
    assert [row["prediction"] for row in rows] == [
        "positive",
        None,
        None,
        "negative",
        None,
    ]
    assert [row["error_kind"] for row in rows] == [
        None,
        "malformed",
        "refused",
        None,
        "malformed",
    ]
    assert rows[2]["text"] == TOO_LONG
    assert rows[2]["input_gates"] is None
    summary = json.loads((tmp_path / "audit" / "summary.json").read_bytes())
    assert summary["num_errors"] == 3
    assert summary["all"]["num_texts"] == 2


def test_an_error_stops_an_audit_that_may_go_on_with_it(
    tiny_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _faulty(tmp_path / "faulty.csv")
    folder = tmp_path / "audit"
    flags = ("--bundle", tiny_directory, "--rows-per-part", 1)
    assert audit(source, folder, *flags) == 2
    assert "row 1 (id 1): column 'text' is empty" in capsys.readouterr().err
    assert len(read_parts(folder)) == 1
    assert audit(source, folder, *flags, "--on-error", "row") == 0
    assert len(read_parts(folder)) == 5
    assert audit(source, folder, *flags) == 2
    assert "an earlier run kept rows" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ((), "differs in the input"),
        (("--label-column", "gold"), "differs in the input, the columns"),
    ],
)
def test_other_data_to_stand_beside_are_refused_before_the_first_text(
    flags: tuple[str, ...],
    problem: str,
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [["text", "gold"], *([text, "1"] for text in TEXTS[1:])]
    other = write_csv(tmp_path / "other.csv", rows)
    place = ("--bundle", tiny_directory)
    assert audit(other, tmp_path / "before", *place) == 0
    beside = ("--against", tmp_path / "before", *flags)
    assert audit(source, tmp_path / "audit", *place, *beside) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()


def test_an_unfinished_audit_to_stand_beside_is_refused_before_the_first_text(
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ("--bundle", tiny_directory)
    assert audit(source, tmp_path / "before", *place) == 0
    (tmp_path / "before" / "parts" / "part-00001.parquet").unlink()
    for folder in (tmp_path / "before", tmp_path / "nothing"):
        beside = ("--against", folder)
        assert audit(source, tmp_path / "audit", *place, *beside) == 2
        assert f"{folder}: holds no finished audit" in capsys.readouterr().err
    assert not (tmp_path / "audit").exists()


def test_a_bundle_that_changed_is_refused(
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_directory, bundle)
    assert audit(source, tmp_path / "audit", "--bundle", bundle) == 0
    before = contents(tmp_path / "audit")
    shutil.rmtree(bundle)
    write_tiny_bundle(bundle, version="4")
    assert audit(source, tmp_path / "audit", "--bundle", bundle) == 2
    assert "holds another audit: model was" in capsys.readouterr().err
    assert contents(tmp_path / "audit") == before


def test_hashed_texts_cannot_be_read(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    flags = ("--bundle", tiny_directory, "--hash-texts")
    assert audit(source, tmp_path / "audit", *flags) == 0
    rows = read_parts(tmp_path / "audit")
    assert [row["text_sha256"] for row in rows] == [
        hashlib.sha256(text.encode()).hexdigest() for text in TEXTS
    ]
    assert not {"text", "text_pair", "tokens", "rationale"} & set(rows[0])
    written = b"".join(contents(tmp_path / "audit").values())
    assert b"funny" not in written


def test_parts_say_what_their_axes_are(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    assert audit(source, tmp_path / "audit", "--bundle", tiny_directory) == 0
    path = tmp_path / "audit" / "parts" / "part-00000.parquet"
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"diffmask.states"]) == list(STATES)
    assert json.loads(metadata[b"diffmask.labels"]) == list(LABELS)


def test_a_full_disk_keeps_the_parts_and_takes_up_again(
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, filled = tmp_path / "whole", tmp_path / "filled"
    assert audit(source, whole, "--bundle", tiny_directory) == 0
    sizes = [len(content) for content in contents(whole / "parts").values()]
    assert sizes[2] < sizes[1]
    # A part is larger than a file may be, as if the disk had no room for it.
    with file_limit(min(sizes[:2]) - 1):
        assert audit(source, filled, "--bundle", tiny_directory) == 2
    told = capsys.readouterr().err
    assert f"{filled}: cannot be written (File too large)" in told
    assert "run the same command again" in told
    assert not contents(filled / "parts")
    assert audit(source, filled, "--bundle", tiny_directory) == 0
    assert contents(filled) == contents(whole)


def test_a_full_disk_at_the_summary_keeps_every_part(
    source: Path,
    tiny_directory: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "audit"
    assert audit(source, folder, "--bundle", tiny_directory) == 0
    whole = contents(folder)
    (folder / "summary.json").unlink()
    with file_limit(len(whole["summary.json"]) - 1):
        assert audit(source, folder, "--bundle", tiny_directory) == 2
    assert "cannot be written (File too large)" in capsys.readouterr().err
    assert not (folder / "summary.json").exists()
    assert audit(source, folder, "--bundle", tiny_directory) == 0
    assert contents(folder) == whole


async def test_an_input_that_changes_under_way_ends_the_audit(
    source: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    def on_row(_: int) -> None:
        with source.open("a") as stream:
            stream.write("good,1,x\n")

    engine = open_engine(tiny_directory, limits=audit_limits(1))
    maker = PartsHere(BundleAnswers(engine, truncate=False))
    opened = open_source(source, Columns())
    settings = AuditSettings(rows_per_part=10)
    with pytest.raises(InvalidInput, match="was changed while it was audited"):
        await run_audit(opened, maker, tmp_path / "audit", settings, on_row=on_row)
    engine.close()
    assert not contents(tmp_path / "audit" / "parts")
