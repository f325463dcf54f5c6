import pytest
import torch

from diffmask_training.objective import Constraint, mean_over_tokens, text_means


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


def test_quantile_lets_few_texts_stray() -> None:
    constraint = Constraint(kind="quantile", margin=0.2, slack=0.0, quantile=0.75)
    divergences = torch.tensor([9.0, 0.1, 0.2, 0.3, 0.4], requires_grad=True)
    bounded = constraint.bounded(divergences)
    assert bounded.item() == pytest.approx(0.4)
    assert constraint.limit == 0.2
    torch.autograd.backward(bounded)
    assert divergences.grad is not None
    assert divergences.grad.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_quantile_between_two_texts_moves_both() -> None:
    constraint = Constraint(kind="quantile", margin=0.2, slack=0.0, quantile=0.9)
    divergences = torch.tensor([0.0, 1.0, 3.0], requires_grad=True)
    bounded = constraint.bounded(divergences)  # at 1.8 of [0, 2]
    assert bounded.item() == pytest.approx(0.2 * 1.0 + 0.8 * 3.0)
    torch.autograd.backward(bounded)
    assert divergences.grad is not None
    assert divergences.grad.tolist() == pytest.approx([0.0, 0.2, 0.8])


def test_quantile_of_few_texts_is_low_by_the_stated_amount() -> None:
    constraint = Constraint(kind="quantile", margin=1.0, slack=0.0, quantile=0.9)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(4000, 16, generator=generator)
    found = torch.stack([constraint.bounded(row) for row in drawn]).mean()
    assert found.item() == pytest.approx((0.9 * 15 + 1) / 17, abs=5e-3)


def test_logarithmic_sparsity_goes_on_where_the_linear_one_ends() -> None:
    logits = torch.tensor([[-4.0, -9.0]], requires_grad=True)
    log_keep = torch.nn.functional.logsigmoid(logits)
    mask = torch.ones(1, 2)
    torch.autograd.backward(text_means(log_keep, mask).mean())
    assert logits.grad is not None
    # Half each, times the chance to drop: nearly all of it at either logit.
    assert logits.grad[0].tolist() == pytest.approx([0.4910, 0.4999], abs=1e-3)
