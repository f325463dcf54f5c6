import pytest
import torch
from torch import nn

from diffmask_training.experiments.toy.model import CountingModel
from diffmask_training.experiments.toy.published import (
    Lookahead,
    PublishedSettings,
    fit_as_published,
    stepper,
)
from diffmask_training.experiments.toy.task import draw_items


def test_slow_weights_start_at_the_first_meeting_and_follow_half_of_the_way() -> None:
    weight = nn.Parameter(torch.tensor([0.0]))
    lookahead = Lookahead([weight], period=2)
    seen = []
    for _ in range(6):
        with torch.no_grad():
            weight.add_(1.0)
        lookahead.step()
        seen.append(weight.item())
    # Slow: 2 at the first meeting, then (2 + 4) / 2 = 3, then (3 + 5) / 2 = 4.
    assert seen == pytest.approx([1.0, 2.0, 3.0, 3.0, 4.0, 4.0])


def test_a_multiplier_falls_to_nothing_on_its_first_step() -> None:
    # RMSprop's first step is the rate over sqrt(1 - 0.99), whatever the gradient.
    multiplier = nn.Parameter(torch.tensor(1.0))
    step = stepper([multiplier], learning_rate=0.3, centered=False, warmup_steps=0)
    step(0.01 * multiplier)
    assert multiplier.item() == pytest.approx(1.0 - 3.0, abs=1e-4)


def test_a_rate_rises_from_nothing_over_its_warm_up() -> None:
    weight = nn.Parameter(torch.tensor(0.0))
    step = stepper([weight], learning_rate=0.1, centered=False, warmup_steps=2)
    seen = []
    for _ in range(3):
        step(-weight)
        seen.append(weight.item())
    # Squares averaged: 0.01, 0.0199, 0.029701; rates 0, a half of 0.1, 0.1.
    second = 0.05 / 0.0199**0.5
    assert seen == pytest.approx([0, second, second + 0.1 / 0.029701**0.5], abs=1e-4)


def test_a_parameter_without_a_part_in_the_loss_rests() -> None:
    drawn, other = (nn.Parameter(torch.tensor(1.0)) for _ in range(2))
    step = stepper([drawn, other], learning_rate=0.3, centered=False, warmup_steps=0)
    for _ in range(4):
        step(drawn)
    assert other.item() == 1.0
    step(other)
    # Its first step, not one after an average over rests.
    assert other.item() == pytest.approx(1.0 - 3.0, abs=1e-4)


def test_baselines_start_from_the_mean_state() -> None:
    torch.manual_seed(0)
    model = CountingModel().requires_grad_(requires_grad=False)
    items = draw_items(50, torch.Generator().manual_seed(0))
    probe = fit_as_published(
        model,
        items,
        PublishedSettings(epochs=0),
        generator=torch.Generator().manual_seed(0),
    )
    real = items.attention_mask.bool()
    for index, state in enumerate(model.hidden_states(items)):
        mean = state[real].mean(dim=0)
        torch.testing.assert_close(probe.baseline(index), mean)
