"""Every method on two texts of a tiny random classifier, to the report."""

from pathlib import Path

import pytest
import torch

from diffmask_training.checkpoint import load_probe, save_probe
from diffmask_training.classifier import Classifier
from diffmask_training.experiments.methods.experiment import (
    MethodsExperiment,
    run_methods,
)
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import read_results
from tests.support.untrained import write_probes, write_trees


@pytest.fixture
def experiment(
    tmp_path: Path, checkpoint: Path, classifier: Classifier
) -> MethodsExperiment:
    write_trees(tmp_path / "data", {"awful": 0, "great": 4})
    write_probes(tmp_path / "probes", classifier, kinds=("hidden",))
    return MethodsExperiment(
        checkpoint=checkpoint,
        probes=tmp_path / "probes",
        data=tmp_path / "data",
        to=tmp_path / "results",
        num_texts=2,
        num_steps=2,
    )


def test_every_method_is_stored_and_reported(experiment: MethodsExperiment) -> None:
    run_methods(experiment)
    path = experiment.to / "methods.json"
    units = read_results(path).units
    assert list(units) == ["text-0", "text-1"]
    methods = units["text-0"]["methods"]
    assert methods["diffmask"]["correlation"] == pytest.approx(1.0)
    for figures in methods.values():
        assert 0 <= figures["agreement"] <= 1
    before = path.stat().st_mtime_ns
    run_methods(experiment)
    assert path.stat().st_mtime_ns == before
    write_report(ReportSettings(to=experiment.to))
    report = (experiment.to / "RESULTS.md").read_text(encoding="utf-8")
    assert "run for 2 steps" in report
    assert (experiment.to / "figure-13.svg").exists()


def test_gates_that_are_all_the_same_go_with_no_order(
    experiment: MethodsExperiment,
) -> None:
    fitted = load_probe(experiment.probes, "hidden")
    for name, weights in fitted.probe.second.named_parameters():
        # Lengths and biases of the last layers: scores are then 0, whatever is read.
        if name.endswith(("original0", "bias")):
            torch.nn.init.zeros_(weights)
    save_probe(experiment.probes / "hidden", fitted)
    run_methods(experiment)
    units = read_results(experiment.to / "methods.json").units
    assert units["text-0"]["methods"]["erasure"]["correlation"] is None
