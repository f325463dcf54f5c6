"""Fits with the default settings on a small classifier made here, to the report."""

import gzip
import json
from pathlib import Path

import pytest

from diffmask_training.errors import ConfigError
from diffmask_training.experiments.convergence.experiment import (
    ConvergenceExperiment,
    run_convergence,
)
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import read_results

_TREES = "\n".join(
    f"({label} ({label} {word}) (2 (2 {thing}) (2 .)))"
    for thing in ("film", "plot", "cast")
    for word, label in (("awful", 0), ("dull", 1), ("fine", 3), ("great", 4))
)


@pytest.fixture
def experiment(tmp_path: Path) -> ConvergenceExperiment:
    trees = tmp_path / "data" / "sst" / "trees"
    trees.mkdir(parents=True)
    for name in ("train", "test", "dev"):
        (trees / f"{name}.txt.gz").write_bytes(gzip.compress(_TREES.encode()))
    return ConvergenceExperiment(
        data=tmp_path / "data",
        to=tmp_path / "results",
        models=tmp_path / "models",
        families=("electra",),
        kinds=("input",),
        seeds=2,
        num_layers=1,
        hidden_size=32,
        vocabulary_size=100,
        epochs=1.0,
        epoch_steps=2,
    )


@pytest.mark.slow
def test_every_fit_is_stored_and_judged(experiment: ConvergenceExperiment) -> None:
    run_convergence(experiment)
    units = read_results(experiment.to / "convergence.json").units
    assert list(units) == ["electra, input, seed 0", "electra, input, seed 1"]
    for unit in units.values():
        assert len(unit["states"]) == 3
        assert unit["middle_kept_share"] == unit["states"][1]["kept_share"]
    write_report(ReportSettings(to=experiment.to))
    report = (experiment.to / "RESULTS.md").read_text()
    assert "of 2 fits" in report
    assert "| electra, input, seed 1 |" in report


def test_an_unknown_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gpt2; use roberta, electra, modernbert"):
        run_convergence(ConvergenceExperiment(families=("gpt2",), to=tmp_path))


def test_a_model_of_other_sizes_is_refused(experiment: ConvergenceExperiment) -> None:
    checkpoint = experiment.models / "electra"
    checkpoint.mkdir(parents=True)
    sizes = {"num_hidden_layers": 1, "hidden_size": 64}
    (checkpoint / "config.json").write_text(json.dumps(sizes))
    record = {"config": {"epochs": 1.0}, "report": {}}
    (checkpoint / "finetune.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match="made with hidden_size 64, not 32; choose"):
        run_convergence(experiment)
    assert not experiment.to.exists()
