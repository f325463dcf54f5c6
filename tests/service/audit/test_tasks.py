"""Audits of every task, and what other programs read of them."""

import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from diffmask_service.cli import main
from tests.support.audits import random_texts, read_parts, write_csv
from tests.support.tiny import LABELS, WEIGHT_BY_TOKEN
from tests.support.tiny_tasks import write_tiny_bundles

TEXTS = random_texts(12)
PAIRS = ["good movie" if index % 2 else "a bad" for index in range(12)]
TAKES_PAIRS = ("question_answering", "pairs")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_tiny_bundles(tmp_path_factory.mktemp("bundles"))


def audit(folder: Path, bundle: Path, *flags: str) -> int:
    rows = list(zip(TEXTS, PAIRS, strict=True))
    source = write_csv(folder.with_suffix(".csv"), [["text", "pair"], *rows])
    words = ["--bundle", str(bundle), "--output", str(folder), *flags, "--truncate"]
    return main(["audit", str(source), "--rows-per-part", "5", *words])


def audited(folder: Path, bundle: Path, *flags: str) -> list[dict[str, Any]]:
    assert audit(folder, bundle, *flags) == 0
    return read_parts(folder)


def weight(tokens: list[str]) -> float:
    return sum(WEIGHT_BY_TOKEN[token] for token in tokens)


def test_a_value_is_the_sum_of_the_weights(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    rows = audited(tmp_path / "audit", bundles["regression"])
    assert [row["prediction"] for row in rows] == [
        weight(row["tokens"]) for row in rows
    ]


def test_labels_are_those_of_a_positive_logit(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    for row in audited(tmp_path / "audit", bundles["multi_label_classification"]):
        total = weight(row["tokens"])
        said = [
            name
            for name, logit in zip(LABELS, (-total, total), strict=True)
            if logit >= 0
        ]
        assert row["prediction"] == said


def test_words_have_the_label_of_their_first_token(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    for row in audited(tmp_path / "audit", bundles["token_classification"]):
        words = [
            row["text"][start:end]
            for start, end in zip(row["word_starts"], row["word_ends"], strict=True)
        ]
        assert words == row["text"].split()
        first = ["fun" if word == "funny" else word for word in words]
        assert row["prediction"] == [
            LABELS[WEIGHT_BY_TOKEN[token] > 0] for token in first
        ]


def test_an_answer_stands_where_its_offsets_say(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("--pair-column", "pair")
    rows = audited(tmp_path / "audit", bundles["question_answering"], *flags)
    assert any(row["prediction"] for row in rows)
    for row in rows:
        start, end = row["answer_start"], row["answer_end"]
        assert row["prediction"] == row["text_pair"][start:end]


def test_hashed_contexts_leave_no_true_answer(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("--pair-column", "pair", "--label-column", "pair")
    bundle = bundles["question_answering"]
    for row in audited(tmp_path / "audit", bundle, *flags, "--hash-texts"):
        assert row["label"] is None
        assert "prediction" not in row


def test_pairs_weigh_twice_in_their_second_text(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    rows = audited(tmp_path / "audit", bundles["pairs"], "--pair-column", "pair")
    for row in rows:
        total = sum(
            WEIGHT_BY_TOKEN[token] * (1 + (is_pair and not is_special))
            for token, is_pair, is_special in zip(
                row["tokens"],
                row["token_segments"],
                row["token_is_special"],
                strict=True,
            )
        )
        assert row["logits"] == [-total, total]


@pytest.mark.parametrize(
    ("task", "flags", "told"),
    [
        ("pairs", (), "lacks a text_pair"),
        ("question_answering", (), "lacks a text_pair"),
        ("text_classification", ("--pair-column", "pair"), "reads single texts"),
    ],
)
def test_a_model_of_other_inputs_is_a_clear_error(
    task: str,
    flags: tuple[str, ...],
    told: str,
    bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert audit(tmp_path / "audit", bundles[task], *flags) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "task",
    [
        "text_classification",
        "multi_label_classification",
        "regression",
        "token_classification",
        "question_answering",
        "pairs",
    ],
)
def test_duckdb_and_pandas_read_what_was_written(
    task: str, bundles: dict[str, Path], tmp_path: Path
) -> None:
    flags = ("--pair-column", "pair") if task in TAKES_PAIRS else ()
    rows = audited(tmp_path / "audit", bundles[task], *flags)
    parts = str(tmp_path / "audit" / "parts" / "*.parquet")
    database = duckdb.connect()
    found = database.execute(
        "SELECT row, prediction, input_gates, hidden_gates, divergence"
        f" FROM read_parquet('{parts}') ORDER BY row"
    ).fetchall()
    frame = pd.read_parquet(tmp_path / "audit" / "parts").sort_values("row")
    assert len(found) == len(frame) == len(rows)
    for row, cells, series in zip(rows, found, frame.to_dict("records"), strict=True):
        names = ("row", "prediction", "input_gates", "hidden_gates", "divergence")
        assert list(cells) == [row[name] for name in names]
        np.testing.assert_array_equal(
            np.stack(series["input_gates"]), np.array(row["input_gates"], np.float32)
        )
    summary = json.loads((tmp_path / "audit" / "summary.json").read_bytes())
    ((mean,),) = database.execute(
        f"SELECT avg(divergence) FROM read_parquet('{parts}')"
    ).fetchall()
    assert summary["all"]["mean_divergence"] == pytest.approx(mean)
