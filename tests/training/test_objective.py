import pytest
import torch

from diffmask_training.objective import Constraint, mean_over_tokens


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
