import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffmask_training.classifier import load_classifier
from diffmask_training.config import FinetuneConfig
from diffmask_training.finetune import finetune
from tests.support.checkpoint import write_checkpoint, write_texts


@pytest.fixture
def config(checkpoint: Path, texts: Path, tmp_path: Path) -> FinetuneConfig:
    write_texts(texts, num_texts=240)
    return FinetuneConfig(
        data=texts.parent,
        train=Path(texts.name),
        base=checkpoint,
        checkpoint=tmp_path / "tuned",
        epochs=20,
        batch_size=8,
        learning_rate=2e-3,
    )


def test_classifier_learns_the_telling_words(config: FinetuneConfig) -> None:
    figures = finetune(config)
    assert figures["accuracy"] >= 0.8  # half of the texts have either label
    record = json.loads((config.checkpoint / "finetune.json").read_text())
    assert record["report"] == figures
    classifier = load_classifier(config.checkpoint)
    assert classifier.labels == ("negative", "positive")
    assert classifier.encoder.num_states == 4


def test_segments_are_left_out_where_the_model_takes_none(
    config: FinetuneConfig, tmp_path: Path
) -> None:
    base = write_checkpoint(tmp_path / "base", family="distilbert")
    finetune(dataclasses.replace(config, base=base, epochs=1))
    assert load_classifier(config.checkpoint).encoder.inputs == (
        "input_ids",
        "attention_mask",
    )


def test_masked_fine_tuning_is_the_same_twice(config: FinetuneConfig) -> None:
    config = dataclasses.replace(config, epochs=1, masked_share=0.7, hidden_share=0.5)
    weights = []
    for name in ("first", "second"):
        directory = config.checkpoint / name
        finetune(dataclasses.replace(config, checkpoint=directory))
        weights.append((directory / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_averaged_weights_are_the_mean_over_the_last_epochs(
    config: FinetuneConfig,
) -> None:
    config = dataclasses.replace(config, epochs=3, averaged_epochs=2)
    finetune(config)
    averaged = load_file(config.checkpoint / "model.safetensors")
    ends = [
        load_file(directory / "model.safetensors")
        for directory in (config.checkpoint / "checkpoints").iterdir()
    ]
    assert len(ends) == 2
    name = "classifier.weight"
    assert not torch.equal(ends[0][name], ends[1][name])
    for name, weight in averaged.items():
        assert torch.allclose(weight, (ends[0][name] + ends[1][name]) / 2, atol=1e-7)
