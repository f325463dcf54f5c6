"""Where a shortcut that was planted before fine-tuning stands in a report's list.

A rare word goes into 5 % of the texts of one class; a small classifier is trained on
them from nothing, probes are fitted, the bundle is exported and audited on texts that
were made the same way and never trained on. Each text has three telling words of its
label and one of the other, and one label in ten is wrong but for the planted texts: the
word is the surest sign that there is. Everything is done by the commands that a user
has; the texts, the model and its tokenizer are those of the tests. Each trial has a
word, a class, texts and weights of its own. Says the rank of the word, beside what
its removal and insertion do and what those of the first words of the list do.

Run it as `python -m benchmarks.shortcut`, as it shares its model with the tests.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import add_result_flag, store, table
from diffmask_service.audit.report import open_audit
from diffmask_service.audit.report.shortcuts import Shortcut, read_shortcuts
from diffmask_service.cli import main as diffmask

if TYPE_CHECKING:
    from benchmarks.planting import Trial

_NUM_SHOWN = 5


def main() -> None:
    """Run the trials and print each; keep what is done so far."""
    from benchmarks.planting import Trial  # noqa: PLC0415 - needs torch

    arguments = _parse()
    told: list[dict[str, Any]] = []
    for seed, word in enumerate(arguments.words):
        trial = Trial(word=word, label=(seed + 1) % 2, seed=seed)
        with tempfile.TemporaryDirectory() as place:
            told.append(_run(trial, Path(place), arguments))
        print(json.dumps(told[-1], indent=1), flush=True)
        store("shortcut", {"trials": told}, arguments=arguments)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    trials = figures["trials"]
    first = sum(trial["rank"] == 1 for trial in trials)
    rows = [
        [
            trial["word"],
            trial["class"],
            "not tested" if trial["rank"] is None else trial["rank"],
            trial["tested"],
            *_cells(trial["planted"]),
            trial["next"] and trial["next"]["word"],
            *_cells(trial["next"]),
            trial["accuracy"],
        ]
        for trial in trials
    ]
    effects = ("insertion flips", "rise", "sufficiency", "strength")
    head = ["planted", "class", "rank", "of words", *effects]
    head += ["best other", *effects, "accuracy"]
    return [
        f"The planted word is first in {first} of {len(trials)} trials.",
        "",
        *table(head, rows),
    ]


def _cells(effects: Mapping[str, Any] | None) -> list[Any]:
    names = ("insertion_flips", "insertion_rise", "sufficiency", "strength")
    return [None if effects is None else effects[name] for name in names]


def _run(trial: "Trial", folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    # Here and not above: the page of results is written without torch.
    from benchmarks.planting import make_bundle, write_texts  # noqa: PLC0415

    for index, name in enumerate(("train", "audited")):
        write_texts(
            folder / f"{name}.csv",
            trial,
            num_texts=arguments.texts,
            seed=2 * trial.seed + index,
        )
    bundle = make_bundle(folder, trial, epochs=arguments.epochs)
    audit = folder / "audit"
    words = ["audit", folder / "audited.csv", "--bundle", bundle, "--output", audit]
    if diffmask([*map(str, words), "--label-column", "label"]):
        raise RuntimeError("the audit failed")
    found = read_shortcuts(open_audit(audit))
    summary = json.loads((audit / "summary.json").read_bytes())["all"]
    return figures_of(trial, () if found is None else found.words) | {
        "accuracy": summary["accuracy"],
        "agreement": summary["agreement"],
    }


def figures_of(trial: "Trial", words: Sequence[Shortcut]) -> dict[str, Any]:
    """Return where the planted word stands, as JSON values.

    Args:
        trial: What was planted.
        words: The report's list, in its order.
    """
    names = [each.deciding.name for each in words]
    rank = names.index(trial.word) + 1 if trial.word in names else None
    others = [each for each in words if each.deciding.name != trial.word]
    return {
        "word": trial.word,
        "class": trial.label,
        "rank": rank,
        "tested": len(names),
        "planted": None if rank is None else _effects(words[rank - 1]),
        "next": _effects(others[0]) if others else None,
        "first": [_effects(each) for each in words[:_NUM_SHOWN]],
    }


def _effects(word: Shortcut) -> dict[str, Any]:
    estimates = {
        "removal_flips": word.removal_flips,
        "removal_drop": word.removal_drop,
        "insertion_flips": word.insertion_flips,
        "insertion_rise": word.insertion_rise,
    }
    return {
        "word": word.deciding.name,
        "label": word.deciding.label,
        "texts": word.deciding.num_texts,
        "score": word.deciding.score.value,
        "sufficiency": word.sufficiency,
        "strength": word.strength[0],
        **{name: each and each.value for name, each in estimates.items()},
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--words",
        nargs="+",
        default=["so", "very", "film"],
        help="fillers of the tests' texts: what is planted, a trial each [%(default)s]",
    )
    parser.add_argument("--texts", type=int, default=2000, help="[%(default)s]")
    parser.add_argument("--epochs", type=int, default=2, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
