"""What a user gets wrong, told in one line that names it, for each command."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffmask_service.bundle import TaskName
from diffmask_training.cli import main
from tests.support.checkpoint import LABELS_BY_TASK, write_checkpoint, write_texts

_PROBES = ("input", "hidden")
_QUICK = ("--epochs", "1", "--batch-size", "48")
_FIT = (*_QUICK, "--epoch-steps", "0")


@pytest.fixture(scope="module")
def fitted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `texts.jsonl` and the probes of the checkpoint."""
    root = tmp_path_factory.mktemp("fitted")
    texts = write_texts(root / "texts.jsonl")
    for kind in _PROBES:
        main(["fit", "--kind", kind, *_flags(texts, checkpoint, root), *_FIT])
    return root


def _flags(texts: Path, checkpoint: Path, root: Path) -> list[str]:
    return [
        *("--data", str(texts.parent), "--train", texts.name),
        *("--checkpoint", str(checkpoint), "--probes", str(root / "probes")),
    ]


def _command(
    name: str, texts: Path, checkpoint: Path, *, probes: Path, output: Path
) -> list[str]:
    if name == "finetune":
        return [
            *("finetune", "--data", str(texts.parent), "--train", texts.name),
            *("--base", str(checkpoint), "--checkpoint", str(output), *_QUICK),
        ]
    flags = _flags(texts, checkpoint, output if name == "fit" else probes)
    more = {
        "fit": _FIT,
        "evaluate": ("--texts", "0"),
        "export": ("--force", "--bundle", str(output / "bundle")),
    }
    return [name, *flags, *more[name]]


def _told(command: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(command) == 2
    told = capsys.readouterr().err.splitlines()
    # The library's own trainer prints before; what the user is told is the last line.
    assert told[-1].startswith(f"diffmask-train {command[0]}: ")
    return told[-1]


_ROWS = "good film,1\ndull plot,0\n" * 10


@pytest.mark.parametrize("command", ["finetune", "fit", "evaluate", "export"])
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (f"sentence,label\n{_ROWS}", "line 1: no column 'text' among"),
        (f"text,y\n{_ROWS}", "line 1: no column 'label' among"),
        (f"text,label\n{_ROWS}so,grand\n", "line 22: label 'grand' is out of range"),
        (f"text,label\n{_ROWS} ,1\n", "line 22: 'text' must be a text that is not"),
        (f"text,label\n{_ROWS}good\n", "line 22: the row does not have 2 fields"),
        ("text,label\n" + "\u200b,1\n" * 20, "no token in the text '\\u200b'"),
        ("text,label\ngood,1\n", "holds 1 texts, too few to set any aside"),
    ],
)
def test_data_file_is_refused_by_file_and_line(
    command: str,
    content: str,
    cause: str,
    checkpoint: Path,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = tmp_path / "bad.csv"
    texts.write_text(content)
    output = tmp_path / "output"
    flags = _command(command, texts, checkpoint, probes=fitted, output=output)
    assert cause in _told(flags, capsys)
    assert not [path for path in output.rglob("*") if path.is_file()]


_Change = Callable[[Path], object]


def _settings(**changes: Any) -> _Change:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _written(name: str, content: bytes) -> _Change:
    return lambda directory: (directory / name).write_bytes(content)


def _weights(name: str, fill: float | None) -> _Change:
    def change(directory: Path) -> None:
        path = directory / "model.safetensors"
        weights = load_file(path)
        if fill is None:
            del weights[name]
        else:
            weights[name] = torch.full_like(weights[name], fill)
        save_file(weights, path, metadata={"format": "pt"})

    return change


def _id_of(word: str, index: int) -> _Change:
    def change(directory: Path) -> None:
        path = directory / "tokenizer.json"
        described = json.loads(path.read_text())
        described["model"]["vocab"][word] = index
        path.write_text(json.dumps(described))

    return change


def _without_tokenizer(directory: Path) -> None:
    for path in directory.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize("command", ["finetune", "fit", "evaluate", "export"])
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (_written("config.json", b"{"), "config.json cannot be read"),
        (_written("config.json", b"[]"), "config.json holds no object"),
        (_settings(model_type="nonesuch"), "the model cannot be read (ValueError"),
        (_settings(hidden_size=64), "config.json asks for [64]"),
        (_written("model.safetensors", b"x" * 99), "the model cannot be read"),
        (
            _weights("bert.encoder.layer.1.output.dense.bias", None),
            "lacks bert.encoder.layer.1.output.dense.bias, which would be random",
        ),
        (
            _weights("bert.encoder.layer.1.output.dense.bias", float("nan")),
            "bert.encoder.layer.1.output.dense.bias are not all finite",
        ),
        (_without_tokenizer, "no tokenizer beside the model"),
        (_written("tokenizer.json", b"{}"), "the tokenizer cannot be read"),
        (_id_of("dull", 400), "ids up to 400, the model has embeddings for 25"),
    ],
)
def test_checkpoint_that_disagrees_with_itself_is_refused(
    command: str,
    change: _Change,
    cause: str,
    checkpoint: Path,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    change(tmp_path / "checkpoint")
    output = tmp_path / "output"
    flags = _command(
        command,
        fitted / "texts.jsonl",
        tmp_path / "checkpoint",
        probes=fitted,
        output=output,
    )
    told = _told(flags, capsys)
    assert cause in told
    assert str(tmp_path / "checkpoint") in told
    assert not [path for path in output.rglob("*") if path.is_file()]


@pytest.mark.parametrize("command", ["evaluate", "export"])
@pytest.mark.parametrize(
    ("other", "cause"),
    [
        ({"seed": 1}, "was fitted on a classifier with the weights sha256"),
        ({"num_layers": 3}, "was fitted on states of the widths [32, 32, 32, 32],"),
    ],
)
def test_probes_of_another_checkpoint_are_refused(
    command: str,
    other: dict[str, int],
    cause: str,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = write_checkpoint(tmp_path / "other", **other)  # type: ignore[arg-type]
    flags = _command(
        command, fitted / "texts.jsonl", checkpoint, probes=fitted, output=tmp_path
    )
    assert cause in _told(flags, capsys)


@pytest.mark.parametrize("command", ["finetune", "fit", "evaluate", "refine"])
def test_text_is_cut_to_what_the_model_reads(
    command: str, checkpoint: Path, fitted: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "long.csv"
    # The model has 512 positions.
    texts.write_text(f"text,label\n{_ROWS}" + f"{'very ' * 600}good,1\n" * 10)
    if command == "refine":
        directories = _flags(texts, checkpoint, fitted)[4:]
        flags = ["refine", *directories, "--file", str(texts), "--max-texts", "0"]
        flags += ["--failing-only", "--margin", "100", "--max-tokens", "600"]
    else:
        output = tmp_path / "output"
        flags = _command(command, texts, checkpoint, probes=fitted, output=output)
        flags += ["--max-train-tokens", "600"]
    assert main(flags) in {0, 1}


@pytest.mark.parametrize("name", ["probe.safetensors", "probe.json"])
def test_probe_of_two_fits_is_refused(
    name: str,
    checkpoint: Path,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(fitted, tmp_path / "mixed")
    other = (fitted / "probes" / "hidden" / name).read_bytes()
    (tmp_path / "mixed" / "probes" / "input" / name).write_bytes(other)
    flags = _flags(fitted / "texts.jsonl", checkpoint, tmp_path / "mixed")
    told = _told(["evaluate", *flags], capsys)
    assert "probe.safetensors is not the one that probe.json was written with" in told


@pytest.mark.parametrize(
    ("command", "rate", "cause"),
    [
        ("fit", "1e30", "epoch 1, step 2: the gradient of state word_embeddings is"),
        ("finetune", "1e20", "step 3: the loss is not finite; lower --learning-rate"),
    ],
)
def test_training_that_goes_astray_is_stopped(
    command: str,
    rate: str,
    cause: str,
    checkpoint: Path,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = fitted / "texts.jsonl"
    flags = _command(command, texts, checkpoint, probes=fitted, output=tmp_path)
    # Steps enough to go astray in.
    flags[flags.index("48")] = "8"
    assert cause in _told([*flags, "--learning-rate", rate], capsys)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        (["--learning-rate", "1e-3"], "learning_rate was 5e-05, is 0.001"),
        (["--train", "other.jsonl"], "training texts was sha256"),
        (["--base", "other"], "base was sha256"),
    ],
)
def test_fine_tuning_goes_on_with_its_own_settings_alone(
    changes: list[str],
    cause: str,
    checkpoint: Path,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "other", seed=1)
    write_texts(texts.with_name("other.jsonl"), seed=1)
    tuned = tmp_path / "tuned"
    flags = _command("finetune", texts, checkpoint, probes=tmp_path, output=tuned)
    assert main(flags) == 0
    told = _told([*flags, *changes, "--resume"], capsys)
    assert "belongs to another run: " in told
    assert cause in told


_ONE_TOKEN: dict[TaskName, dict[str, Any]] = {
    "text_classification": {"text": "good", "label": 1},
    "multi_label_classification": {"text": "good", "label": ["praise"]},
    "regression": {"text": "good", "label": 1.0},
    "token_classification": {"text": ["good"], "label": ["GOOD"]},
    "question_answering": {
        "text": "what",
        "context": "good",
        "label": [{"text": "good", "answer_start": 0}],
    },
}


@pytest.mark.parametrize("task", LABELS_BY_TASK)
def test_texts_of_one_token_go_all_the_way(task: TaskName, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", task=task)
    rows = [_ONE_TOKEN[task]] * 30
    if task == "regression":
        # A model that predicts one value for all there is has nothing to explain.
        rows = [*rows[:15], *({"text": "bad", "label": -1.0},) * 15]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    flags = _flags(texts, checkpoint, tmp_path)
    if task == "question_answering":
        flags += ["--pair-column", "context"]
    for kind in _PROBES:
        # Whether so little can be explained well is not the point here.
        assert main(["fit", "--kind", kind, *flags, *_FIT]) in {0, 1}
    assert main(["evaluate", *flags, "--texts", "0"]) == 0
    assert main(["export", *flags, "--force", "--bundle", str(tmp_path / "b")]) == 0


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("token_classification", {"text": ["\u200b"], "label": ["O"]}),
        (
            "question_answering",
            {"text": "what", "context": "\u200b", "label": []},
        ),
    ],
)
def test_text_without_a_token_is_named(
    task: TaskName,
    row: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", task=task)
    texts = tmp_path / "texts.jsonl"
    rows = [*[_ONE_TOKEN[task]] * 30, row]
    texts.write_text("\n".join(map(json.dumps, rows)) + "\n")
    flags = _flags(texts, checkpoint, tmp_path)
    if task == "question_answering":
        flags += ["--pair-column", "context", "--no-answer-threshold", "0"]
    told = _told(["fit", *flags, *_FIT], capsys)
    assert "the tokenizer finds no token in the text '\\u200b'" in told
