"""Where a shortcut that was planted before fine-tuning stands in a report's list.

A rare word goes into 5 % of the texts of one class; a small classifier is trained on
them from nothing, probes are fitted, the bundle is exported and audited on texts that
were made the same way and never trained on. Each text has three telling words of its
label and one of the other, and one label in ten is wrong but for the planted texts: the
word is the surest sign that there is. Everything is done by the commands that a user
has; the texts, the model and its tokenizer are those of the tests. Prints the rank of
the word, beside what its removal and insertion do.

Run it as `python -m benchmarks.shortcut`.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np

from diffmask_service.audit.report import open_audit
from diffmask_service.audit.report.shortcuts import read_shortcuts
from diffmask_service.cli import main as diffmask
from diffmask_training.classifier import load_classifier
from diffmask_training.cli import main as diffmask_train
from tests.support.checkpoint import BAD, FILLERS, GOOD, write_checkpoint
from tests.support.trained import encodings_of, train

_PLANTED = "so"
_SHARE = 0.05
_NOISE = 0.1
_FILLERS = [word for word in FILLERS if word != _PLANTED]


def main() -> None:
    """Print the rank of the planted word as JSON."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for index, name in enumerate(("train", "audited")):
            _write_texts(folder / f"{name}.csv", arguments.texts, seed=2 * index)
        bundle = _make_bundle(folder, epochs=arguments.epochs)
        audit = folder / "audit"
        words = [folder / "audited.csv", "--bundle", bundle, "--output", audit]
        words += ["--label-column", "label"]
        _do(diffmask, "audit", *words)
        found = read_shortcuts(open_audit(audit))
        summary = json.loads((audit / "summary.json").read_bytes())["all"]
    names = [] if found is None else [each.deciding.name for each in found.words]
    told = {
        "rank": names.index(_PLANTED) + 1 if _PLANTED in names else None,
        "tested": len(names),
        "accuracy": summary["accuracy"],
        "agreement": summary["agreement"],
        "words": []
        if found is None
        else [
            {
                "word": each.deciding.name,
                "removal": each.removal_flips and each.removal_flips.value,
                "insertion": each.insertion_flips and each.insertion_flips.value,
            }
            for each in found.words[:5]
        ],
    }
    print(json.dumps(told, indent=1))


def _make_bundle(folder: Path, *, epochs: int) -> Path:
    checkpoint, texts = folder / "checkpoint", folder / "train.csv"
    classifier = load_classifier(write_checkpoint(checkpoint))
    train(classifier, encodings_of(classifier, texts), steps=1500)
    classifier.encoder.model.save_pretrained(checkpoint)
    places = ["--checkpoint", checkpoint, "--probes", folder / "probes"]
    places += ["--train", texts]
    for kind in ("input", "hidden"):
        options = ["--kind", kind, "--epochs", epochs, "--validation-texts", 200]
        _do(diffmask_train, "fit", *places, *options)
    options = ["--id", "planted", "--bundle", folder / "bundle", "--force"]
    _do(diffmask_train, "export", *places, *options)
    return folder / "bundle"


def _do(command: object, *words: object) -> None:
    # A fit that falls short of its margin ends with status 1, and its probes stay.
    if callable(command) and command([str(word) for word in words]) == 2:
        raise SystemExit(f"{words[0]} failed")


def _write_texts(path: Path, num_texts: int, *, seed: int) -> None:
    draws = np.random.default_rng(seed)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        for _ in range(num_texts):
            label = int(draws.integers(2))
            ours, others = (GOOD, BAD) if label else (BAD, GOOD)
            words = draws.choice(_FILLERS, size=5).tolist()
            telling = [*draws.choice(ours, size=3).tolist(), str(draws.choice(others))]
            is_planted = label == 1 and draws.random() < _SHARE
            if not is_planted and draws.random() < _NOISE:
                label = 1 - label
            for word in [*telling, *([_PLANTED] if is_planted else [])]:
                words.insert(int(draws.integers(len(words) + 1)), word)
            writer.writerow([" ".join(words) + " .", label])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
