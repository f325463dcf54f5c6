import dataclasses
import json
from pathlib import Path

import pytest

from diffmask_training.classifier import load_classifier
from diffmask_training.config import FinetuneConfig
from diffmask_training.errors import ConfigError
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


def test_resuming_takes_up_this_run_s_checkpoint_alone(config: FinetuneConfig) -> None:
    longer = dataclasses.replace(config, epochs=3)
    finetune(longer)
    finetune(dataclasses.replace(config, epochs=2, seed=1))
    checkpoints = list((config.checkpoint / "checkpoints").iterdir())
    state = json.loads((checkpoints[0] / "trainer_state.json").read_text())
    assert len(checkpoints) == 1
    assert state["epoch"] == 2.0


def test_resumed_run_gives_the_weights_of_one_in_a_piece(
    config: FinetuneConfig,
) -> None:
    whole = dataclasses.replace(config, epochs=2, masked_share=0.7, hidden_share=0.5)
    finetune(whole)
    expected = (whole.checkpoint / "model.safetensors").read_bytes()
    (whole.checkpoint / "model.safetensors").unlink()
    finetune(dataclasses.replace(whole, resume=True))
    assert (whole.checkpoint / "model.safetensors").read_bytes() == expected


def test_shares_outside_0_to_1_are_refused(config: FinetuneConfig) -> None:
    message = "masked_share must be in \\[0, 1\\], not 50; epochs must be over 0, not 0"
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(config, masked_share=50, epochs=0)
