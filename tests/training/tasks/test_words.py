import math
from pathlib import Path

import numpy as np
import pytest
import torch

from diffmask_training.batches import Encoding
from diffmask_training.classifier import load_classifier
from diffmask_training.encoding import encoding_of
from diffmask_training.records import Label, Record, WordTag
from diffmask_training.tasks.words import TokenClassification
from tests.support.checkpoint import LABELS_BY_TASK, tokenizer_of, write_checkpoint

TASK = TokenClassification()


def _encoded(text: str, label: Label | None = None) -> Encoding:
    tokens = tokenizer_of("bert")(text).encodings[0]
    return encoding_of(Record(text=text, label=label), tokens, task=TASK)


def test_first_token_of_each_word_is_scored() -> None:
    # [CLS] a film ##ly plot . [SEP]
    encoding = _encoded("a filmly plot.")
    assert len(encoding.input_ids) == 7
    assert encoding.scored == (1, 2, 4, 5)
    assert encoding.offsets[2:5] == ((2, 6), (6, 8), (9, 13))


def test_divergence_is_the_mean_over_scored_tokens() -> None:
    logits = torch.zeros(2, 3, 2)
    logits[0, 1, 1] = math.log(3.0)
    logits[1, 0, 0] = 9.0  # not scored
    masked = torch.zeros(2, 3, 2)
    scored = torch.tensor([[0, 1, 1], [0, 0, 1]])
    coin = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    found = TASK.divergence(logits, masked, {"scored": scored})
    assert found.tolist() == pytest.approx([coin / 2, 0.0], abs=1e-6)


def test_divergence_of_a_text_of_no_word_is_zero() -> None:
    logits = torch.randn(1, 2, 2)
    found = TASK.divergence(logits, -logits, {"scored": torch.zeros(1, 2)})
    assert found.tolist() == [0.0]


def test_prediction_is_the_label_of_each_word() -> None:
    encoding = _encoded("a filmly plot")  # [CLS] a film ##ly plot [SEP]
    logits = np.eye(3)[[2, 0, 1, 2, 1, 2]]
    assert TASK.predict(logits, encoding) == (0, 1, 1)
    # Padding behind the text changes nothing.
    assert TASK.predict(np.eye(3)[[2, 0, 1, 2, 1, 2, 0, 0]], encoding) == (0, 1, 1)


def test_agreement_is_the_share_of_words_and_fidelity_that_of_texts() -> None:
    assert TASK.agreement((0, 1, 1, 2), (0, 1, 2, 2)) == 0.75
    assert TASK.agreement((), ()) == 1.0
    kept = TASK.fidelity([(0, 1), (1,)], [(0, 1), (0,)])
    assert kept == {"whole_text_agreement": 0.5}


def test_figures_of_entities_need_bio_tags() -> None:
    task = TASK.with_labels(("O", "B-FILM", "I-FILM"))
    before, after = [(0, 1, 2), (1, 0)], [(0, 1, 2), (1, 2)]
    # Two entities before and two after, one of them longer.
    assert task.fidelity(before, after) == {
        "whole_text_agreement": 0.5,
        "entity_agreement": 0.5,
    }
    tags = tuple(WordTag(start=s, index=i) for s, i in ((0, 0), (2, 1), (7, 2)))
    texts = [_encoded("a film plot", tags)]
    assert task.quality([(0, 1, 2)], texts).scores == {"entity_f1": 1.0}
    assert task.quality([(0, 1, 0)], texts).scores == {"entity_f1": 0.0}
    other = TASK.with_labels(("O", "NOUN", "VERB"))
    assert set(other.fidelity(before, after)) == {"whole_text_agreement"}
    assert other.quality([(0, 1, 2)], texts).scores == {}


def test_labels_of_entities_come_with_the_model(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, task="token_classification")
    task = load_classifier(tmp_path).encoder.task
    assert task.label_names == LABELS_BY_TASK["token_classification"]  # type: ignore[attr-defined]


def test_words_that_the_tokenizer_parts_are_judged_by_their_first_part() -> None:
    # `film.` is one labelled word and two of the tokenizer's.
    label = (WordTag(start=0, index=1), WordTag(start=2, index=2))
    encoding = _encoded("a film.", label)
    assert encoding.scored == (1, 2, 3)
    assert TASK.quality([(1, 2, 0)], [encoding]).accuracy == 1.0
    assert TASK.quality([(1, 0, 2)], [encoding]).accuracy == 0.5
    # Of three labels, one is always right.
    assert TASK.quality([(1, 0, 2)], [encoding]).macro_f1 == pytest.approx(1 / 3)
