"""A classifier that was trained on texts with a planted word, as a bundle.

Apart from the script that audits it, as this needs torch.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffmask_training.classifier import load_classifier
from diffmask_training.cli import main as diffmask_train
from tests.support.checkpoint import BAD, FILLERS, GOOD, write_checkpoint
from tests.support.trained import encodings_of, train

_SHARE = 0.05
_NOISE = 0.1
_STEPS = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is planted.

    Attributes:
        word: The shortcut; in no text but those that it is planted in.
        label: Index of the class whose texts get it.
        seed: Of the texts and of the weights.
    """

    word: str
    label: int
    seed: int


def make_bundle(folder: Path, trial: Trial, *, epochs: int) -> Path:
    """Train a model on `train.csv`, fit its probes, and return their bundle.

    Args:
        folder: With the texts; the rest goes there too.
        trial: What is planted.
        epochs: Of each kind of probes.

    Raises:
        RuntimeError: A command failed.
    """
    checkpoint, texts = folder / "checkpoint", folder / "train.csv"
    classifier = load_classifier(write_checkpoint(checkpoint, seed=trial.seed))
    train(classifier, encodings_of(classifier, texts), steps=_STEPS)
    classifier.encoder.model.save_pretrained(checkpoint)
    places: list[object] = ["--checkpoint", checkpoint]
    places += ["--probes", folder / "probes"]
    places += ["--train", texts]
    for kind in ("input", "hidden"):
        options: list[object] = ["--kind", kind, "--epochs", epochs]
        _run("fit", *places, *options, "--validation-texts", 200)
    options = ["--id", "planted", "--bundle", folder / "bundle", "--force"]
    _run("export", *places, *options)
    return folder / "bundle"


def _run(*words: object) -> None:
    # A fit that falls short of its margin ends with status 1, and its probes stay.
    if diffmask_train([str(word) for word in words]) == 2:
        raise RuntimeError(f"diffmask-train {words[0]} failed")


def write_texts(path: Path, trial: Trial, *, num_texts: int, seed: int) -> None:
    """Write labelled texts, some of which have the planted word.

    Args:
        path: Where to.
        trial: What is planted.
        num_texts: How many.
        seed: Of their words.
    """
    draws = np.random.default_rng(seed)
    fillers = [word for word in FILLERS if word != trial.word]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for _ in range(num_texts):
            label = int(draws.integers(2))
            ours, others = (GOOD, BAD) if label else (BAD, GOOD)
            words = draws.choice(fillers, size=5).tolist()
            telling = [*draws.choice(ours, size=3).tolist(), str(draws.choice(others))]
            is_planted = label == trial.label and draws.random() < _SHARE
            if not is_planted and draws.random() < _NOISE:
                label = 1 - label
            for word in [*telling, *([trial.word] if is_planted else [])]:
                words.insert(int(draws.integers(len(words) + 1)), word)
            writer.writerow([" ".join(words) + " .", label])
