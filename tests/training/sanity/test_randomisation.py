import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.sanity.randomisation import (
    compare_explanations,
    write_randomised,
)
from tests.support.checkpoint import write_checkpoint


def _changed(classifier: Classifier, directory: Path, depth: int) -> set[str]:
    """Return the parameters that differ, but for those that start out alike."""
    written = write_randomised(classifier, directory, depth=depth, seed=5)
    spoilt = dict(load_classifier(written).encoder.model.named_parameters())
    return {
        name
        for name, value in classifier.encoder.model.named_parameters()
        if value.dim() > 1 and not torch.equal(value, spoilt[name])
    }


def test_layers_are_spoilt_from_the_top(trained: Classifier, tmp_path: Path) -> None:
    matrices = {
        name for name, p in trained.encoder.model.named_parameters() if p.dim() > 1
    }
    head = {"classifier.weight", "bert.pooler.dense.weight"}
    top = {name for name in matrices if ".layer.1." in name}
    bottom = {name for name in matrices if ".layer.0." in name}
    assert _changed(trained, tmp_path / "0", 0) == head
    assert _changed(trained, tmp_path / "1", 1) == head | top
    assert _changed(trained, tmp_path / "2", 2) == head | top | bottom
    assert _changed(trained, tmp_path / "3", 3) == matrices


def test_block_that_is_shared_is_spoilt_as_a_whole(tmp_path: Path) -> None:
    classifier = load_classifier(write_checkpoint(tmp_path / "own", family="albert"))
    changed = _changed(classifier, tmp_path / "spoilt", 1)
    assert any("albert_layer_groups" in name for name in changed)
    assert not any("embeddings" in name for name in changed)


def test_same_explanations_are_alike_and_shuffled_ones_are_not(
    explained: tuple[ExplainedText, ...],
) -> None:
    same = compare_explanations(explained, explained, depth=0)
    assert same.rank_correlation is not None
    assert same.rank_correlation.score.mean == pytest.approx(1.0)
    assert same.rank_correlation.gain.low > 0
    assert same.top_jaccard is not None
    assert same.top_jaccard.score.mean == 1.0
    assert same.agreement == 1.0

    generator = np.random.default_rng(0)
    shuffled = [
        dataclasses.replace(
            text,
            gates={"input": generator.permuted(text.gates["input"], axis=1)},
        )
        for text in explained
    ]
    other = compare_explanations(explained, shuffled, depth=0)
    assert other.rank_correlation is not None
    assert other.rank_correlation.gain.low <= 0 <= other.rank_correlation.gain.high


def test_constant_explanations_have_no_order_to_compare(
    explained: tuple[ExplainedText, ...],
) -> None:
    closed = [
        dataclasses.replace(text, gates={"input": np.zeros_like(text.gates["input"])})
        for text in explained
    ]
    found = compare_explanations(explained, closed, depth=3)
    assert found.rank_correlation is None
    assert found.top_jaccard is None
    assert found.kept_share == 0.0


def test_other_texts_are_refused(explained: tuple[ExplainedText, ...]) -> None:
    with pytest.raises(MetricError, match="same texts"):
        compare_explanations(explained, explained[::-1], depth=0)
