import gzip
from pathlib import Path

import pytest

from diffmask_training.errors import DataError
from diffmask_training.experiments.results import read_results
from diffmask_training.experiments.subsets.experiment import (
    SubsetExperiment,
    run_subsets,
)
from diffmask_training.experiments.subsets.gates import MaskSettings

_TREES = "\n".join(
    f"({label} ({label} {word}) (2 ({2} film) (2 {end})))"
    for word, label in (("dire", 0), ("dull", 1), ("fine", 3), ("superb", 4))
    for end in (".", "!")
)


def _write_trees(data: Path) -> None:
    folder = data / "sst" / "trees"
    folder.mkdir(parents=True)
    for name in ("train", "dev"):
        (folder / f"{name}.txt.gz").write_bytes(gzip.compress(_TREES.encode()))


def test_smallest_run_scores_all_methods(tmp_path: Path) -> None:
    _write_trees(tmp_path)
    run_subsets(
        SubsetExperiment(
            data=tmp_path,
            to=tmp_path / "results",
            seeds=1,
            width=4,
            epochs=1,
            masks=MaskSettings(num_steps=10, num_restarts=1),
        )
    )
    unit = read_results(tmp_path / "results" / "subsets-prediction.json").units[
        "seed-0"
    ]
    assert unit["search"]["num_texts"] == 8
    assert unit["search"]["num_unresolved"] == 0
    assert sum(unit["search"]["num_by_size"].values()) == 8
    assert len(unit["methods"]) == 6
    for name, scores in unit["methods"].items():
        # What is chosen always does what is asked for.
        assert scores["feasible"] == 1.0 or name.endswith("_last")
        assert 0 <= scores["optimality"] <= scores["recall"] <= 1


def test_missing_treebank_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt\.gz: cannot be read"):
        run_subsets(SubsetExperiment(data=tmp_path, to=tmp_path))
