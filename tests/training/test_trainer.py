import dataclasses
from pathlib import Path

import pytest
import torch

from diffmask_training.batches import TensorBatch, collate
from diffmask_training.classifier import Classifier, load_classifier
from diffmask_training.config import FitConfig, Precision
from diffmask_training.encoding import encode
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.records import Record
from diffmask_training.trainer import Trainer
from tests.support.checkpoint import write_checkpoint

TEXTS = ("good film", "the plot is dull .", "it was awful and boring", "a fine film")


def _trainer(
    classifier: Classifier,
    kind: ProbeKind = "input",
    states_per_text: int = 2,
    precision: Precision = "fp32",
) -> Trainer:
    torch.manual_seed(0)
    shape = ProbeShape(
        kind=kind,
        num_states=4,
        hidden_size=32,
        bottleneck_size=4,
        embedding_size=classifier.encoder.embedding_size,
    )
    config = FitConfig(kind=kind, states_per_text=states_per_text, precision=precision)
    return Trainer(config, classifier.encoder, Probe(shape), pad_id=0, total_steps=10)


def _batch(classifier: Classifier) -> TensorBatch:
    records = [Record(text=text, label=0) for text in TEXTS]
    task = classifier.encoder.task
    return collate(encode(records, classifier.tokenizer, 64, task=task), pad_id=0)


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_step_moves_every_state_that_texts_were_dealt(
    classifier: Classifier, kind: ProbeKind
) -> None:
    trainer = _trainer(classifier, kind)
    before = [p.detach().clone() for p in trainer.probe.parameters()]
    figures = trainer.step(_batch(classifier))
    assert sorted(f.state_index for f in figures) == [0, 1, 2, 3]
    after = list(trainer.probe.parameters())
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert all(running is not None for running in trainer.multipliers.running)


def test_reduced_precision_gives_nearly_the_same_step(classifier: Classifier) -> None:
    batch = _batch(classifier)
    exact = _trainer(classifier).step(batch)
    trainer = _trainer(classifier, precision="bf16")
    assert trainer.fast_encoder.model.dtype is torch.bfloat16
    assert trainer.encoder.model.dtype is torch.float32
    for one, other in zip(exact, trainer.step(batch), strict=True):
        assert one.kept_share == pytest.approx(other.kept_share, rel=0.02)
        assert one.divergence == pytest.approx(other.divergence, rel=0.2, abs=0.05)


def test_step_leaves_the_model_alone(classifier: Classifier) -> None:
    model = classifier.encoder.model
    before = {name: p.clone() for name, p in model.named_parameters()}
    _trainer(classifier).step(_batch(classifier))
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_statistics_standardise_real_tokens(family: str, tmp_path: Path) -> None:
    classifier = load_classifier(write_checkpoint(tmp_path, family=family))
    trainer = _trainer(classifier)
    records = [Record(text=text) for text in TEXTS]
    task = classifier.encoder.task
    encodings = encode(records, classifier.tokenizer, 64, task=task)
    trainer.initialise(encodings, mask_id=4)
    with torch.no_grad():
        batch = collate(encodings, pad_id=0)
        states = classifier.encoder.capture(batch.inputs).hidden_states
    for index, state in enumerate(states):
        tokens = state[batch.attention_mask.bool()]
        mean, scale = trainer.probe.statistics(index)
        tokens = (tokens - mean) / scale
        assert torch.allclose(tokens.mean(dim=0), torch.zeros_like(mean), atol=1e-4)
        assert float(tokens.square().mean()) == pytest.approx(1.0, abs=1e-3)
    words = classifier.encoder.model.get_input_embeddings()
    assert torch.equal(trainer.probe.baselines[0], words.weight[4])


def test_state_of_a_trainer_survives_a_round_trip(
    classifier: Classifier, tmp_path: Path
) -> None:
    batch = _batch(classifier)
    trainer, restored = _trainer(classifier), _trainer(classifier)
    trainer.pacing.aims, trainer.pacing.weights = [0.01] * 4, [0.25, 1.0, 1.0, 1.0]
    trainer.step(batch)
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    restored.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert dataclasses.astuple(trainer.step(batch)[0]) == dataclasses.astuple(
        restored.step(batch)[0]
    )
