import math

import pytest
import torch

from diffmask_training.probes import Probe, ProbeKind, ProbeShape

STATES = tuple(
    torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)
)


NARROW = (STATES[0][..., :3], *STATES[1:])


def _probe(kind: ProbeKind, embedding_size: int | None = None) -> Probe:
    torch.manual_seed(0)
    shape = ProbeShape(
        kind=kind,
        num_states=4,
        hidden_size=8,
        bottleneck_size=2,
        embedding_size=embedding_size,
    )
    return Probe(shape)


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_gate_logits_stay_within_the_bound_of_the_bias(kind: ProbeKind) -> None:
    probe = _probe(kind)
    huge = [state * 1e4 for state in STATES]
    for index in range(4):
        logits = probe.gate_logits(huge, index)
        assert logits.shape == (2, 3)
        assert float(logits.detach().abs().max()) <= 13.0 + 1e-4


def test_hidden_vote_reads_its_own_state_alone() -> None:
    probe = _probe("hidden")
    changed = list(STATES)
    changed[0] = changed[0] + 1
    assert torch.equal(probe.gate_logits(changed, 2), probe.gate_logits(STATES, 2))


def test_input_vote_reads_the_word_and_its_own_state() -> None:
    probe = _probe("input")
    for touched, is_read in ((0, True), (1, False), (2, True)):
        changed = list(STATES)
        changed[touched] = changed[touched] + 1
        same = torch.equal(probe.gate_logits(changed, 2), probe.gate_logits(STATES, 2))
        assert same is not is_read


def test_standardising_undoes_shift_and_scale() -> None:
    probe = _probe("hidden")
    expected = probe.gate_logits(STATES, 1)
    probe.mean[1].fill_(5.0)
    probe.scale[1].fill_(3.0)
    moved = list(STATES)
    moved[1] = moved[1] * 3.0 + 5.0
    assert torch.allclose(probe.gate_logits(moved, 1), expected, atol=1e-5)


def test_logit_follows_the_formula() -> None:
    probe = _probe("hidden")
    first, second = probe.layers(0)
    inner = torch.tanh(STATES[0] @ first.weight.T + first.bias)
    outer = (inner @ second.weight.T + second.bias).squeeze(-1)
    expected = 10 * torch.tanh(outer) + 3.0
    assert torch.allclose(probe.gate_logits(STATES, 0), expected, atol=1e-6)
    assert math.isclose(float(probe.bias[0].detach()), 3.0)


def test_input_probe_has_one_baseline_and_hidden_probe_one_for_each_state() -> None:
    assert _probe("input").baselines.shape == (1, 8)
    assert _probe("hidden").baselines.shape == (4, 8)
    assert torch.equal(_probe("input").baseline(3), _probe("input").baseline(0))


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_narrow_word_embedding_is_standardised_by_its_own_coordinates(
    kind: ProbeKind,
) -> None:
    probe = _probe(kind, embedding_size=3)
    assert probe.shape.widths == (3, 8, 8, 8)
    expected = [probe.gate_logits(NARROW, index) for index in range(4)]
    # What lies behind a narrow state in its row is never read.
    probe.mean[0, 3:] = 5.0
    probe.scale[0, 3:] = 0.0
    for index in range(4):
        assert torch.equal(probe.gate_logits(NARROW, index), expected[index])
    assert probe.baseline(0).shape == (3,)
    assert probe.baseline(2).shape == ((3,) if kind == "input" else (8,))
