"""An untrained probe and two texts on a tiny random classifier, to the report."""

from pathlib import Path

import pytest

from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.experiments.alone.experiment import AloneExperiment, run_alone
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import read_results
from tests.support.untrained import write_probes, write_trees


@pytest.fixture
def experiment(
    tmp_path: Path, checkpoint: Path, classifier: Classifier
) -> AloneExperiment:
    write_trees(tmp_path / "data", {"awful": 0, "great": 4})
    write_probes(tmp_path / "probes", classifier, kinds=("hidden",))
    return AloneExperiment(
        checkpoint=checkpoint,
        probes=tmp_path / "probes",
        data=tmp_path / "data",
        to=tmp_path / "results",
        seeds=2,
        steps=150,
    )


def test_a_baseline_of_its_own_carries_the_answer(experiment: AloneExperiment) -> None:
    run_alone(experiment)
    units = read_results(experiment.to / "alone.json").units
    assert list(units) == ["text-0", "text-1"]
    for unit in units.values():
        assert unit["own"]["kept_share"] < 0.05 < unit["none"]["kept_share"]
        assert unit["own"]["agreement"] == 1
        assert len(unit["none"]["keep_probability"][0]) == len(unit["tokens"])
    write_report(ReportSettings(to=experiment.to))
    report = (experiment.to / "RESULTS.md").read_text(encoding="utf-8")
    assert "| (b) one text, own baseline | states kept, % |" in report
    assert (experiment.to / "figure-12.svg").exists()


def test_one_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 or more"):
        run_alone(AloneExperiment(seeds=1))
