import math

import numpy as np
import pytest
import torch
from scipy import integrate

from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)

SHAPE = HardConcreteShape()
LOGITS = [-5.0, -2.0, 0.0, 2.0, 5.0]


def _gate(uniform: float, logit: float) -> float:
    concrete = 1 / (1 + math.exp(-(math.log(uniform / (1 - uniform)) + logit) / 0.2))
    return min(max(concrete * 1.2 - 0.2, 0.0), 1.0)


@pytest.mark.parametrize("logit", LOGITS)
def test_keep_probability_equals_the_integral(logit: float) -> None:
    crossing = 1 / (1 + math.exp(logit - 0.2 * math.log(0.2)))
    expected, _ = integrate.quad(
        lambda u: float(_gate(u, logit) > 0), 0, 1, points=[crossing]
    )
    found = log_keep_probability(torch.tensor(logit), SHAPE).exp().item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_keep_probability_is_the_sigmoid_shifted_by_a_fifth_of_log_five() -> None:
    logits = torch.tensor(LOGITS)
    expected = torch.sigmoid(logits + 0.2 * math.log(5))
    found = log_keep_probability(logits, SHAPE).exp()
    assert torch.allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("logit", LOGITS)
def test_samples_have_the_mean_and_the_zeros_of_the_distribution(logit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    votes = sample(torch.full((200_000,), logit), SHAPE, generator)
    mean, _ = integrate.quad(lambda u: _gate(u, logit), 1e-12, 1 - 1e-12, limit=200)
    keep = log_keep_probability(torch.tensor(logit), SHAPE).exp().item()
    assert votes.mean().item() == pytest.approx(mean, abs=4e-3)
    assert (votes > 0).float().mean().item() == pytest.approx(keep, abs=4e-3)


def test_samples_reach_zero_but_never_exceed_one() -> None:
    votes = sample(torch.zeros(10_000), SHAPE, torch.Generator().manual_seed(1))
    assert votes.min().item() == 0.0
    assert votes.max().item() <= 1.0


def test_gradient_of_a_sample_matches_finite_differences() -> None:
    logits = torch.linspace(-1, 1, 9, dtype=torch.float64, requires_grad=True)

    def drawn(values: torch.Tensor) -> torch.Tensor:
        return sample(values, SHAPE, torch.Generator().manual_seed(3))

    assert torch.autograd.gradcheck(drawn, (logits,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_edge_logits_stay_finite(logit: float) -> None:
    value = torch.tensor(logit, requires_grad=True)
    log_probability = log_keep_probability(value, SHAPE)
    torch.autograd.backward(log_probability)
    assert np.isfinite(log_probability.item())
    assert value.grad is not None
    assert torch.isfinite(value.grad)
