from pathlib import Path

import numpy as np
import pytest
import torch

from diffmask_service.bundle import TaskName
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.errors import CheckpointError
from diffmask_training.explained import (
    ExplainedText,
    explain_texts,
    keep_probabilities,
    kept_share_by_state,
)
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates
from diffmask_training.records import Record
from tests.support.checkpoint import write_checkpoint
from tests.support.probes import random_probe, random_probes
from tests.support.trained import encodings_of_records


def test_keep_probabilities_equal_those_of_each_state(trained: Classifier) -> None:
    ids = torch.tensor([[2, 5, 9, 13, 3], [2, 7, 8, 3, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    states = trained.encoder.capture(inputs).hidden_states
    for kind in ("input", "hidden"):
        probe = random_probe(trained, kind)
        found = keep_probabilities(probe, states)
        for index in range(probe.shape.num_states):
            one = hard_gates(probe, states, index, HardConcreteShape())
            torch.testing.assert_close(found[:, index], one.keep_probability)


def test_texts_keep_their_order_and_lose_their_padding(trained: Classifier) -> None:
    records = [
        Record(text="good film and it was very good ."),
        Record(text="bad"),
        Record(text="the plot is bad ."),
    ]
    encodings = encodings_of_records(trained, records)
    together = explain_texts(trained, random_probes(trained), encodings)
    assert [text.encoding for text in together] == encodings
    for text, encoding in zip(together, encodings, strict=True):
        (alone,) = explain_texts(trained, random_probes(trained), [encoding])
        assert text.tokens == alone.tokens
        np.testing.assert_allclose(text.score, alone.score, atol=1e-5)
        np.testing.assert_allclose(text.probabilities, alone.probabilities, atol=1e-6)


def test_only_added_tokens_are_special(trained: Classifier) -> None:
    unknown = encodings_of_records(trained, [Record(text="good zebra [MASK] .")])
    (text,) = explain_texts(trained, random_probes(trained), unknown)
    assert text.tokens[0] == "[CLS]"
    assert text.tokens[-1] == "[SEP]"
    assert "[UNK]" in text.tokens
    assert text.words.tolist() == list(range(1, len(text.tokens) - 1))


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    task: TaskName = "multi_label_classification"
    classifier = load_classifier(write_checkpoint(tmp_path, task=task))
    encodings = encodings_of_records(classifier, [Record(text="good")])
    with pytest.raises(CheckpointError, match="not yet for multi label classification"):
        explain_texts(classifier, {}, encodings)


def test_kept_share_counts_every_token_once(
    explained: tuple[ExplainedText, ...],
) -> None:
    masks = np.concatenate([text.hard_masks("hidden") for text in explained], axis=1)
    found = kept_share_by_state(explained, "hidden")
    np.testing.assert_allclose(found, masks.mean(axis=1))
