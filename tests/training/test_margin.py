import math

import pytest
import torch

from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.encoding import encode
from diffmask_training.margin import Outputs, describe_outputs, margin_of
from diffmask_training.records import Record
from diffmask_training.tasks import task_named

LABELS = task_named("text_classification")


def test_outputs_of_two_coins_are_the_closed_form() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(3.0), 0.0]])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert LABELS.entropy(logits, {}).tolist() == pytest.approx([entropy] * 2, abs=1e-6)
    # Their mean is one half each.
    expected = math.log(2) - entropy
    assert LABELS.information(logits) == pytest.approx(expected, abs=1e-6)


def test_sure_model_has_no_entropy_and_loses_all_when_nothing_is_read() -> None:
    logits = torch.tensor([[0.0, 90.0], [90.0, 0.0]])
    assert LABELS.entropy(logits, {}).tolist() == pytest.approx([0.0] * 2, abs=1e-9)
    assert LABELS.information(logits) == pytest.approx(math.log(2), abs=1e-6)


def test_outputs_are_those_of_all_texts_whatever_their_batches(
    classifier: Classifier,
) -> None:
    records = [Record(text=text) for text in ("good film", "it was awful and boring")]
    encodings = encode(records, classifier.tokenizer, 64, task=LABELS)
    batches = [collate([encoding], pad_id=0) for encoding in encodings]
    outputs = describe_outputs(classifier.encoder, batches)
    with torch.no_grad():
        logits = torch.cat(
            [classifier.encoder.capture(batch.inputs).logits for batch in batches]
        )
    entropy = float(LABELS.entropy(logits, {}).mean())
    assert outputs.entropy == pytest.approx(entropy, abs=1e-6)
    assert outputs.information == pytest.approx(LABELS.information(logits), abs=1e-6)


def test_margin_is_a_share_of_the_entropy() -> None:
    # Those of the classifier behind the shipped bundle, on its validation texts.
    outputs = Outputs(entropy=0.1096, information=0.58)
    assert margin_of(outputs, 1.1) == pytest.approx(0.12, abs=2e-3)


def test_margin_of_a_vague_model_is_less_than_reading_nothing_costs() -> None:
    outputs = Outputs(entropy=1.2, information=0.3)
    assert margin_of(outputs, 1.1) == pytest.approx(0.075)


def test_margin_never_vanishes() -> None:
    assert margin_of(Outputs(entropy=0.0, information=0.7), 1.1) == 0.01
