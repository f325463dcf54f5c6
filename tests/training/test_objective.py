import math

import pytest
import torch

from diffmask_training.objective import Constraint, divergence, mean_over_tokens


def test_divergence_of_two_coins_is_the_closed_form() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # 1/4 and 3/4
    masked = torch.tensor([[0.0, 0.0]])  # one half each
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert divergence(logits, masked).item() == pytest.approx(expected, abs=1e-6)


def test_divergence_is_of_the_masked_from_the_original_prediction() -> None:
    sure, unsure = torch.tensor([[0.0, 9.0]]), torch.tensor([[0.0, 0.0]])
    assert divergence(sure, unsure).item() == pytest.approx(math.log(2), abs=2e-3)
    assert divergence(unsure, sure).item() > 3.0


def test_divergence_of_equal_predictions_is_zero() -> None:
    logits = torch.randn(5, 3)
    assert torch.allclose(divergence(logits, logits + 2.0), torch.zeros(5), atol=1e-6)


def test_expected_l0_averages_over_real_tokens_then_texts() -> None:
    keep = torch.tensor([[0.2, 0.4, 0.9], [1.0, 0.0, 0.5]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert mean_over_tokens(keep, mask).item() == pytest.approx((0.3 + 0.5) / 2)


def test_mean_constraint_lets_easy_texts_pay_for_hard_ones() -> None:
    divergences = torch.tensor([0.0, 0.3])
    mean = Constraint(kind="mean", margin=0.2, slack=0.0)
    hinge = Constraint(kind="hinge", margin=0.2, slack=0.0)
    assert mean.bounded(divergences).item() == pytest.approx(0.15)
    assert hinge.bounded(divergences).item() == pytest.approx(0.05)


def test_limit_is_the_margin_or_the_slack() -> None:
    assert Constraint(kind="mean", margin=0.2, slack=0.01).limit == 0.2
    assert Constraint(kind="hinge", margin=0.2, slack=0.01).limit == 0.01
