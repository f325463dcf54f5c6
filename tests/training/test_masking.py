import itertools

import torch

from diffmask_training.classifier import Classifier
from diffmask_training.hard_concrete import HardConcreteShape, log_keep_probability
from diffmask_training.masking import (
    Relaxation,
    SampledGates,
    hard_gates,
    masked_logits,
    mix,
    sampled_gates,
)
from diffmask_training.probes import Probe, ProbeKind, ProbeShape

SHAPE = HardConcreteShape()
IDS = torch.tensor([[2, 5, 9, 13, 3]])
INPUTS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}


def _probe(kind: ProbeKind) -> Probe:
    torch.manual_seed(1)
    shape = ProbeShape(
        kind=kind, num_states=4, hidden_size=32, bottleneck_size=4, initial_bias=0.0
    )
    return Probe(shape)


def _sampled(
    probe: Probe, states: tuple[torch.Tensor, ...], how: Relaxation
) -> SampledGates:
    return sampled_gates(
        probe,
        states,
        2,
        SHAPE,
        relaxation=how,
        generator=torch.Generator().manual_seed(0),
    )


@torch.no_grad()
def test_input_gate_multiplies_votes_up_to_its_state(classifier: Classifier) -> None:
    states = classifier.encoder.capture(INPUTS).hidden_states
    probe = _probe("input")
    votes = [
        log_keep_probability(probe.gate_logits(states, k), SHAPE) for k in range(4)
    ]
    for index in range(4):
        expected = torch.stack(votes[: index + 1]).exp().prod(dim=0)
        found = hard_gates(probe, states, index, SHAPE).keep_probability
        assert torch.allclose(found, expected, atol=1e-6)


@torch.no_grad()
def test_input_gates_never_rise_with_the_state(classifier: Classifier) -> None:
    states = classifier.encoder.capture(INPUTS).hidden_states
    probe = _probe("input")
    gates = [hard_gates(probe, states, k, SHAPE).keep_probability for k in range(4)]
    for lower, upper in itertools.pairwise(gates):
        assert bool((upper <= lower).all())


@torch.no_grad()
def test_hidden_gate_is_one_vote(classifier: Classifier) -> None:
    states = classifier.encoder.capture(INPUTS).hidden_states
    probe = _probe("hidden")
    expected = log_keep_probability(probe.gate_logits(states, 3), SHAPE).exp()
    found = hard_gates(probe, states, 3, SHAPE)
    assert torch.allclose(found.keep_probability, expected)
    assert torch.equal(found.values, (expected >= 0.5).float())


def test_deterministic_gates_are_zero_or_one_with_a_gradient(
    classifier: Classifier,
) -> None:
    states = classifier.encoder.capture(INPUTS).hidden_states
    probe = _probe("input")
    gates = _sampled(probe, states, "deterministic")
    values = gates.values.detach()
    assert bool(((values - values.round()).abs() < 1e-6).all())
    torch.autograd.backward(gates.values.sum())
    assert probe.bias.grad is not None
    assert float(probe.bias.grad.abs().sum()) > 0


def test_soft_gates_come_from_the_given_generator_alone(classifier: Classifier) -> None:
    states = classifier.encoder.capture(INPUTS).hidden_states
    probe = _probe("input")
    one, other = (_sampled(probe, states, "soft").values for _ in range(2))
    assert torch.equal(one, other)


@torch.no_grad()
def test_open_gates_leave_the_prediction_alone(classifier: Classifier) -> None:
    captured = classifier.encoder.capture(INPUTS)
    for kind in ("input", "hidden"):
        for index in range(4):
            logits = masked_logits(
                classifier.encoder,
                INPUTS,
                captured,
                probe=_probe(kind),
                state_index=index,
                gates=torch.ones(1, 5),
            )
            assert torch.allclose(logits, captured.logits, atol=1e-6)


@torch.no_grad()
def test_closed_gates_put_the_baseline_in_place() -> None:
    probe = _probe("hidden")
    probe.baselines.copy_(torch.arange(4.0)[:, None].expand(4, 32))
    states = tuple(torch.randn(1, 5, 32) for _ in range(4))
    gates = torch.tensor([[1.0, 0.0, 0.25, 1.0, 0.0]])
    mixed = mix(probe, states, 3, gates)
    assert torch.equal(mixed[0, 0], states[3][0, 0])
    assert torch.equal(mixed[0, 1], torch.full((32,), 3.0))
    assert torch.allclose(mixed[0, 2], 0.25 * states[3][0, 2] + 0.75 * 3.0)


def test_mixed_gates_are_hard_for_some_texts_and_soft_for_others() -> None:
    probe = _probe("hidden")
    generator = torch.Generator().manual_seed(0)
    states = tuple(torch.randn(64, 5, 32, generator=generator) for _ in range(4))
    gates = _sampled(probe, states, "mixed")
    hard = (gates.keep_probability >= 0.5).float()
    is_hard = ((gates.values - hard).abs() < 1e-6).all(dim=1)
    assert 16 < int(is_hard.sum()) < 48


def test_energy_is_the_mean_square_of_the_voters_scores() -> None:
    probe = _probe("input")
    states = tuple(torch.randn(2, 5, 32) for _ in range(4))
    scores = [probe.scores(states, voter) for voter in range(3)]
    expected = torch.stack(scores).square().mean(dim=0)
    assert torch.allclose(_sampled(probe, states, "soft").energy, expected)
