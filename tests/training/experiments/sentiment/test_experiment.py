"""Two untrained probes on a tiny random classifier, from files to report."""

import dataclasses
from pathlib import Path

import pytest

from diffmask_training.classifier import Classifier
from diffmask_training.errors import CheckpointError, ConfigError
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import read_results
from diffmask_training.experiments.sentiment.experiment import (
    SentimentExperiment,
    run_sentiment,
)
from tests.support.untrained import write_probes, write_trees

_LABELS = {"awful": 0, "dull": 1, "fine": 3, "great": 4}


@pytest.fixture
def experiment(
    tmp_path: Path, checkpoint: Path, classifier: Classifier
) -> SentimentExperiment:
    write_trees(tmp_path / "data", _LABELS)
    return SentimentExperiment(
        checkpoint=checkpoint,
        probes=tuple(
            write_probes(tmp_path / f"probes-{seed}", classifier, seed=seed)
            for seed in (0, 1)
        ),
        data=tmp_path / "data",
        to=tmp_path / "results",
        name="tiny",
    )


def test_smallest_run_is_reported(experiment: SentimentExperiment) -> None:
    run_sentiment(experiment)
    units = read_results(experiment.to / "sentiment-tiny.json").units
    assert set(units) == {
        f"{kind}-{part}" for kind in ("input", "hidden") for part in (0, 1, "stability")
    }
    assert units["hidden-0"]["num_sentences"] == 4
    assert units["hidden-stability"]["seed_spread"] > 0
    # Without the tagger's data there are no parts of speech, and no picture of them.
    assert units["input-0"]["by_part_of_speech"] is None
    keep = units["input-0"]["example"]["keep_probability"]
    assert len(keep) == 4
    write_report(ReportSettings(to=experiment.to))
    report = (experiment.to / "RESULTS.md").read_text(encoding="utf-8")
    assert "standard deviation of a gate over 2 seeds" in report
    assert {path.name for path in experiment.to.glob("*.svg")} == {
        "figure-4-tiny.svg",
        "figure-6-tiny.svg",
    }


def test_one_seed_is_refused(experiment: SentimentExperiment) -> None:
    alone = SentimentExperiment(probes=experiment.probes[:1])
    with pytest.raises(ConfigError, match="two directories or more"):
        run_sentiment(alone)


def test_probes_of_another_classifier_are_refused(
    experiment: SentimentExperiment, classifier: Classifier, tmp_path: Path
) -> None:
    other = write_probes(
        tmp_path / "other", classifier, seed=2, fitted_on="sha256 other"
    )
    mixed = dataclasses.replace(experiment, probes=(*experiment.probes, other))
    with pytest.raises(CheckpointError, match="with the weights sha256 other"):
        run_sentiment(mixed)
