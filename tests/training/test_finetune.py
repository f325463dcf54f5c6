import dataclasses
import json
from pathlib import Path

import pytest

from diffmask_service.bundle import TaskName
from diffmask_training.classifier import load_classifier
from diffmask_training.config import FinetuneConfig
from diffmask_training.errors import ConfigError, DataError
from diffmask_training.finetune import finetune
from tests.support.checkpoint import LABELS_BY_TASK, write_checkpoint, write_texts


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


@pytest.mark.parametrize(
    ("task", "figure", "least"),
    [
        # Chance is a quarter of the texts at most; a mean error of 2, negative here;
        # every word alike; one word of five.
        ("multi_label_classification", "accuracy", 0.7),
        ("regression", "mean_absolute_error", -1.5),
        ("token_classification", "macro_f1", 0.7),
        ("question_answering", "accuracy", 0.7),
    ],
)
def test_model_of_each_task_learns_the_telling_words(
    task: TaskName, figure: str, least: float, config: FinetuneConfig, texts: Path
) -> None:
    write_texts(texts, task=task, num_texts=240)
    config = dataclasses.replace(
        config,
        task=task,
        labels=LABELS_BY_TASK[task],
        pair_column="context" if task == "question_answering" else "",
        max_held_bytes=0,
        batch_size=4,
        epochs=12,
    )
    figures = finetune(config)
    sign = -1 if "error" in figure else 1
    assert sign * figures[figure] >= least
    classifier = load_classifier(config.checkpoint)
    assert classifier.encoder.task.name == task
    assert classifier.labels == LABELS_BY_TASK[task]


def test_model_learns_that_there_is_no_answer(
    config: FinetuneConfig, texts: Path
) -> None:
    write_texts(texts, task="question_answering", num_texts=240)
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    for row in rows[::3]:
        (answer,) = row["label"]
        row |= {"context": row["context"].replace(answer["text"], "so"), "label": []}
    texts.write_text("\n".join(map(json.dumps, rows)))
    config = dataclasses.replace(
        config, task="question_answering", labels=(), pair_column="context", epochs=10
    )
    with pytest.raises(DataError, match="has no answer; give a --no-answer-threshold"):
        finetune(config)
    figures = finetune(dataclasses.replace(config, no_answer_threshold=0.0))
    assert figures["no_answer_accuracy"] >= 0.7
    assert figures["has_answer_accuracy"] >= 0.5


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
    checkpoints = list((config.checkpoint / "checkpoints").glob("checkpoint-*"))
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
