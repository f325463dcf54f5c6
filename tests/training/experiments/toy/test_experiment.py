from pathlib import Path

import pytest

from diffmask_training.experiments.results import read_results
from diffmask_training.experiments.toy.experiment import (
    OthersExperiment,
    ProbeExperiment,
    PublishedExperiment,
    run_others,
    run_probe,
    run_published,
)
from diffmask_training.experiments.toy.probing import ProbeSettings
from diffmask_training.experiments.toy.published import PublishedSettings


def test_probes_describe_divergence_example_and_states(tmp_path: Path) -> None:
    run_probe(
        ProbeExperiment(
            to=tmp_path,
            seeds=1,
            num_items=200,
            epochs=1,
            probe=ProbeSettings(epochs=1, bottleneck_size=4),
        )
    )
    unit = read_results(tmp_path / "toy.json").units["seed-0"]
    assert unit["divergences"]["diffmask"]["kl"] >= 0
    assert sum(unit["example"]["diffmask_feed_forward"]) == pytest.approx(1.0)
    assert len(unit["states"]["first"][0]) == 2


def test_others_are_measured_on_the_same_model(tmp_path: Path) -> None:
    run_others(
        OthersExperiment(to=tmp_path, seeds=1, num_items=200, epochs=1, num_steps=2)
    )
    run_published(
        PublishedExperiment(
            to=tmp_path,
            seeds=1,
            num_items=200,
            epochs=1,
            probe=PublishedSettings(epochs=1),
        )
    )
    others = read_results(tmp_path / "toy-others.json").units["seed-0"]
    published = read_results(tmp_path / "toy-published.json").units["seed-0"]
    assert others["accuracy"] == published["accuracy"]
    # Erasure misses one of two digits, and no number says by how much.
    assert others["divergences"]["exact_erasure"]["kl"] is None
    assert published["divergences"]["diffmask_published"]["js"] >= 0
