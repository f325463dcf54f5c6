from collections.abc import Iterator

import pytest
import torch

from diffmask_training.batches import TensorBatch, collate
from diffmask_training.classifier import Classifier
from diffmask_training.complement import complement_agreement
from diffmask_training.encoding import encode
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.probes import Probe, ProbeShape
from diffmask_training.records import Record

TEXTS = ("good film", "the plot is dull .", "it was awful and boring", "a fine film")


def _probe(bias: float) -> Probe:
    torch.manual_seed(0)
    shape = ProbeShape(kind="hidden", num_states=4, hidden_size=32, bottleneck_size=4)
    probe = Probe(shape).requires_grad_(requires_grad=False)
    probe.bias.fill_(bias)
    probe.baselines.normal_()
    return probe


def _batches(classifier: Classifier) -> Iterator[TensorBatch]:
    records = [Record(text=text) for text in TEXTS]
    for encoding in encode(
        records, classifier.tokenizer, 64, task=classifier.encoder.task
    ):
        yield collate([encoding], pad_id=0)


def test_removing_everything_leaves_every_prediction_to_the_complement(
    classifier: Classifier,
) -> None:
    agreement = complement_agreement(
        classifier.encoder,
        _probe(-40.0),
        _batches(classifier),
        shape=HardConcreteShape(),
    )
    assert agreement == (1.0,) * 4


def test_complement_of_nothing_is_the_baseline_alone(classifier: Classifier) -> None:
    probe = _probe(40.0)
    agreement = complement_agreement(
        classifier.encoder, probe, _batches(classifier), shape=HardConcreteShape()
    )
    for index in range(4):
        same = 0
        for batch in _batches(classifier):
            captured = classifier.encoder.capture(batch.inputs)
            state = torch.zeros_like(captured.hidden_states[index])
            bare = state + probe.baseline(index)
            logits = classifier.encoder.run_from(batch.inputs, index, bare)
            same += int(logits.argmax() == captured.logits.argmax())
        assert agreement[index] == pytest.approx(same / len(TEXTS))
