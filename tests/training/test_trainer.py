import dataclasses
from pathlib import Path

import pytest
import torch

from diffmask_training.batches import Encoding, TensorBatch, collate
from diffmask_training.classifier import Classifier
from diffmask_training.config import FitConfig, from_tables
from diffmask_training.encoding import encode
from diffmask_training.errors import NonFiniteError
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.records import Record
from diffmask_training.trainer import Trainer

TEXTS = ("good film", "the plot is dull .", "it was awful and boring", "a fine film")


def _trainer(
    classifier: Classifier,
    kind: ProbeKind = "input",
    **settings: object,
) -> Trainer:
    torch.manual_seed(0)
    shape = ProbeShape(
        kind=kind,
        num_states=4,
        hidden_size=32,
        bottleneck_size=4,
        embedding_size=classifier.encoder.embedding_size,
    )
    values = {"kind": kind, "margin": 0.1, "states_per_text": 2, **settings}
    config = from_tables(FitConfig, {}, values)
    probe = Probe(shape)
    with torch.no_grad():
        # Texts of nothing but zeros have gradients past all bounds in a layer norm.
        probe.baselines.normal_()
    return Trainer(config, classifier.encoder, probe, pad_id=0, total_steps=10)


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


def _gradients(trainer: Trainer) -> list[torch.Tensor]:
    return [p.grad for p in trainer.primal.parameters if p.grad is not None]


@pytest.mark.parametrize("kind", ["input", "hidden"])
@pytest.mark.parametrize("constraint", ["mean", "hinge"])
@pytest.mark.parametrize("accumulation", [2, 3])
def test_parts_of_a_step_add_up_to_the_whole(
    classifier: Classifier, kind: ProbeKind, constraint: str, accumulation: int
) -> None:
    batch = _batch(classifier)
    settings = {"constraint": constraint, "complement_weight": 0.5}
    whole = _trainer(classifier, kind, **settings)
    parted = _trainer(classifier, kind, accumulation=accumulation, **settings)
    whole.accumulate(batch)
    parted.accumulate(batch)
    assert len(_gradients(whole)) == len(_gradients(parted))
    for one, other in zip(_gradients(whole), _gradients(parted), strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


def test_parts_of_a_step_move_multipliers_as_the_whole_does(
    classifier: Classifier,
) -> None:
    batch = _batch(classifier)
    whole, parted = _trainer(classifier), _trainer(classifier, accumulation=4)
    shown = whole.step(batch), parted.step(batch)
    for one, other in zip(*shown, strict=True):
        assert dataclasses.astuple(one) == pytest.approx(
            dataclasses.astuple(other), rel=1e-4, abs=1e-6
        )


def test_complement_asks_that_the_removed_part_does_not_suffice(
    classifier: Classifier,
) -> None:
    batch = _batch(classifier)
    plain, asking = _trainer(classifier), _trainer(classifier, complement_weight=1.0)
    (without, *_), (found, *_) = (
        next(iter(trainer.accumulate(batch).values())) for trainer in (plain, asking)
    )
    assert not without.complement.any()
    assert bool((found.complement > 0).any())
    assert torch.equal(without.divergence, found.divergence)
    pairs = zip(_gradients(plain), _gradients(asking), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_reached_complement_margin_asks_for_nothing(classifier: Classifier) -> None:
    batch = _batch(classifier)
    plain = _trainer(classifier)
    asking = _trainer(classifier, complement_weight=1.0, complement_margin=-1e-3)
    plain.accumulate(batch)
    asking.accumulate(batch)
    for one, other in zip(_gradients(plain), _gradients(asking), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_single_dealing_masks_all_texts_at_one_state(classifier: Classifier) -> None:
    trainer = _trainer(classifier, dealing="single")
    batch = _batch(classifier)
    seen = set()
    for _ in range(12):
        figures_by_state = trainer.accumulate(batch)
        ((index, (figures,)),) = figures_by_state.items()
        assert len(figures.divergence) == len(TEXTS)
        seen.add(index)
    assert seen == {0, 1, 2, 3}


def test_logarithmic_sparsity_is_what_is_minimised(classifier: Classifier) -> None:
    batch = _batch(classifier)
    figures = _trainer(classifier, sparsity="logarithmic").accumulate(batch)
    for (part,) in figures.values():
        assert bool((part.sparsity < 0).all())
        assert bool((part.kept_share > 0).all())


@pytest.mark.parametrize("broken", ["probe", "model"])
def test_number_that_is_not_finite_names_step_and_state(
    classifier: Classifier, broken: str
) -> None:
    trainer = _trainer(classifier, "hidden")
    if broken == "probe":
        with torch.no_grad():
            trainer.probe.bias[2] = torch.nan
    else:
        trainer.encoder.model.classifier.bias.data[0] = torch.nan
    before = trainer.primal.state_dict()["num_steps"]
    encodings = encode(
        [Record(text=t) for t in TEXTS],
        classifier.tokenizer,
        64,
        task=classifier.encoder.task,
    )
    expected = "block_1" if broken == "probe" else "word_embeddings"
    with pytest.raises(NonFiniteError, match=rf"epoch 1, step 1: .*{expected} .*lower"):
        list(trainer.train_epoch(encodings))
    assert trainer.primal.state_dict()["num_steps"] == before


def test_text_of_one_token_can_be_masked(classifier: Classifier) -> None:
    encodings = [Encoding(input_ids=(5,), token_type_ids=(0,), label=-1)] * 3
    figures = _trainer(classifier).step(collate(encodings, pad_id=0))
    assert all(0 <= shown.kept_share <= 1 for shown in figures)
