"""Both tests from flags to files; what they must find was planted."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffmask_training.cli import main
from diffmask_training.config import ShortcutConfig
from diffmask_training.errors import CheckpointError
from diffmask_training.fit import SILENT
from diffmask_training.sanity.refits import recover_shortcuts
from tests.support.checkpoint import write_checkpoint, write_texts

FILLERS = ("the", "a", "film", "plot", "is", "was", "it")
FIT = (
    "--epochs",
    "4",
    "--epoch-steps",
    "0",
    "--learning-rate",
    "1e-2",
    "--batch-size",
    "16",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with sentences whose labels nothing tells, and a tiny model."""
    directory = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(0)
    lines = [
        json.dumps(
            {
                "text": " ".join(generator.choice(FILLERS, size=5)),
                "label": int(generator.integers(2)),
            }
        )
        for _ in range(300)
    ]
    (directory / "texts.jsonl").write_text("\n".join(lines) + "\n")
    write_checkpoint(directory / "base")
    return directory


@pytest.mark.slow
def test_planted_shortcut_is_found_and_lost_when_layers_are_spoilt(run: Path) -> None:
    data = ("--data", str(run), "--train", "texts.jsonl")
    status = main(
        [
            *("shortcuts", *data, *FIT, "--base", str(run / "base")),
            *("--output", str(run / "shortcuts"), "--shortcuts", "single_token"),
            *("--share", "0.6", "--finetune-epochs", "40", "--masked-share", "0"),
            *("--finetune-learning-rate", "2e-3"),
            *("--report", str(run / "shortcuts.json")),
        ]
    )
    assert status == 0
    (found,) = json.loads((run / "shortcuts.json").read_text())
    assert found["obedience"] > 0.9
    assert found["precision"]["gain"]["low"] > 0

    learned = run / "shortcuts" / "single_token"
    status = main(
        [
            *("randomise", "--data", str(learned), "--train", "train.jsonl", *FIT),
            *("--validation", "validation.jsonl", "--test", "test.jsonl"),
            *("--checkpoint", str(learned / "checkpoint")),
            *("--probes", str(learned / "probes")),
            *("--output", str(run / "randomised"), "--depths", "0", "-1"),
            *("--report", str(run / "randomised.json")),
        ]
    )
    assert status == 0
    head, everything = json.loads((run / "randomised.json").read_text())
    assert (head["depth"], everything["depth"]) == (0, 3)
    correlation = everything["rank_correlation"]
    assert correlation is None or correlation["score"]["mean"] < 0.5


def test_a_base_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.jsonl", num_texts=20)
    (tmp_path / "config.json").write_text("{}")
    config = ShortcutConfig(base=tmp_path, data=tmp_path, train=Path("texts.jsonl"))
    with pytest.raises(CheckpointError, match="no tokenizer beside the model"):
        recover_shortcuts(config, SILENT)
