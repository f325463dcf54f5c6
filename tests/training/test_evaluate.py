"""The command from flags to files, on a tiny classifier and random probes."""

import json
from pathlib import Path
from typing import Any

import pytest

from diffmask_training.checkpoint import FitRecord, FittedProbe, save_probe
from diffmask_training.classifier import Classifier
from diffmask_training.cli import main
from diffmask_training.commands import _texts_to_refine
from diffmask_training.config import RefineConfig
from diffmask_training.reports import measure
from tests.support.probes import random_probes
from tests.support.trained import scattered_records


@pytest.fixture(scope="module")
def flags(trained: Classifier, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags that name a trained classifier, its random probes and its texts."""
    directory = tmp_path_factory.mktemp("run")
    trained.encoder.model.save_pretrained(directory / "checkpoint")
    trained.tokenizer.save_pretrained(directory / "checkpoint")
    for kind, probe in random_probes(trained).items():
        record = FitRecord(
            is_feasible=True,
            is_collapsed=False,
            epochs=(1,) * 4,
            multipliers=(1.0,) * 4,
            fit_seconds=1.0,
            seconds_by_stage={},
            processor="none",
            config={"margin": 0.1},
        )
        save_probe(directory / "probes" / kind, FittedProbe(probe=probe, record=record))
    lines = [
        json.dumps({"text": record.text, "label": record.label})
        for record in scattered_records(60, seed=3)
    ]
    (directory / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return [
        *("--data", str(directory), "--train", "texts.jsonl", "--test", "texts.jsonl"),
        *("--checkpoint", str(directory / "checkpoint")),
        *("--probes", str(directory / "probes")),
    ]


def test_report_and_page_hold_every_part(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, page = tmp_path / "out" / "report.json", tmp_path / "out" / "page.html"
    status = main(
        [
            *("evaluate", *flags, "--texts", "6", "--leakage", "--thorough"),
            *("--compare", "integrated-gradients"),
            *("--report", str(report), "--html", str(page)),
        ]
    )
    assert status in {0, 1}  # what random probes leak is not the point here
    content: dict[str, Any] = json.loads(report.read_text())
    assert content["schema"] == 1
    assert content["provenance"]["num_texts"] == 6
    assert set(content["figures"]) == {"input", "hidden"}
    explainers = {figure["explainer"] for figure in content["rankings"]}
    assert explainers == {"DiffMask", "integrated gradients"}
    removals = {figure["removal"] for figure in content["masks"]}
    assert removals == {"mask_token", "attention_drop", "learned_baseline"}
    tests = {check["test"] for check in content["leakage"]}
    assert tests == {"mask_only", "evaluator_gap", "encode_meter", "all_baseline"}
    names = {figure["name"] for figure in content["rankings"]}
    assert {"comprehensiveness_top", "racu", "soft_sufficiency"} < names
    assert page.read_text().startswith("<!doctype html>")
    printed = capsys.readouterr().out
    assert "95 % intervals" in printed
    assert "verdict" in printed


def test_hard_masks_alone_need_no_drawn_texts(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["evaluate", *flags, "--texts", "0", "--report", str(report)]) == 0
    content = json.loads(report.read_text())
    assert content["rankings"] is None
    assert len(content["figures"]["hidden"]["states"]) == 4
    assert "input gates, hard masks, 60 texts" in capsys.readouterr().out


def test_quick_report_holds_the_main_figures_of_some_texts(
    flags: list[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    few = ["--max-texts", "12", "--texts", "4", "--precision", "bf16"]
    assert main(["evaluate", *flags, *few, "--report", str(report)]) == 0
    content = json.loads(report.read_text())
    assert content["provenance"]["num_test_texts"] == 12
    assert content["figures"]["input"]["num_texts"] == 12
    assert content["provenance"]["num_texts"] == 4
    names = {figure["name"] for figure in content["rankings"]}
    assert "comprehensiveness_top" in names
    assert "tau_loo" not in names


def test_too_few_texts_of_a_label_are_told_before_the_long_work(
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = tmp_path / "rare.jsonl"
    rows = [{"text": "a good film", "label": 1}] * 20 + [{"text": "dull", "label": 0}]
    texts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    begun = []
    monkeypatch.setattr(
        measure, "measure_input_masks", lambda *_, **__: begun.append(1)
    )
    report = tmp_path / "report.json"
    chosen = flags[flags.index("--checkpoint") :]
    files = ["--train", str(texts), "--validation", str(texts), "--test", str(texts)]
    asked = ["--leakage", "--report", str(report)]
    assert main(["evaluate", *chosen, *files, *asked]) == 2
    assert "5 folds need two labels" in capsys.readouterr().err
    assert not begun


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--max-texts", "1"], "max_texts must be 0 or at least 2"),
        (["--texts", "1"], "texts must be 0 or at least 2"),
        (["--random-orders", "1"], "random_orders must be at least 2"),
        (["--bundle", "b", "--leakage"], "a bundle's hard masks alone"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    flags: list[str],
    extra: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["evaluate", *flags, *extra]) == 2
    assert message in capsys.readouterr().err


def test_refined_texts_are_printed_and_written(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "refined.json"
    chosen = flags[flags.index("--checkpoint") :]
    texts = ["--text", "the film was good .", "a dull plot ."]
    settings = ["--steps", "20", "--report", str(report)]
    assert main(["refine", *chosen, *texts, *settings]) == 0
    content = json.loads(report.read_text())
    assert [len(text["refined"]) for text in content["texts"]] == [1, 1]
    for text in content["texts"]:
        assert text["refined"][0]["divergence"] <= content["margin"]
        assert len(text["tokens"]) == len(text["refined"][0]["keep"])
    printed = capsys.readouterr().out
    assert "2 of 2 texts refined" in printed
    assert "amortisation gap" in printed


def test_words_to_refine_are_read_as_the_task_has_them(tmp_path: Path) -> None:
    file = tmp_path / "words.jsonl"
    file.write_text('{"text": ["a", "dull", "plot"]}\n')
    config = RefineConfig(file=file)
    (record,) = _texts_to_refine(config, (), task="token_classification")
    assert record.text == "a dull plot"


def test_texts_that_the_probe_explains_well_are_left_alone(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "the film was good ."}\n{"text": "a dull plot ."}\n')
    chosen = flags[flags.index("--checkpoint") :]
    # No mask of two labels diverges by that much.
    loose = ["--failing-only", "--margin", "100", "--kind", "hidden"]
    assert main(["refine", *chosen, "--file", str(file), *loose]) == 0
    assert "0 of 2 texts refined" in capsys.readouterr().out


def test_nothing_to_refine_is_refused(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["refine", *flags[flags.index("--checkpoint") :]]) == 2
    assert "name a --text" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["refine", "randomise", "shortcuts"])
def test_help_of_each_command_names_its_files(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "--report" in printed
    assert "--probes" in printed
