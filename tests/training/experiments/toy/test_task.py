import torch

from diffmask_training.experiments.toy.task import (
    draw_items,
    is_queried,
    make_items,
    true_attribution,
)


def test_answers_count_only_real_tokens() -> None:
    digits = torch.tensor([[8, 8, 3, 1, 1, 1], [8, 8, 3, 1, 1, 1]])
    items = make_items(
        torch.tensor([[8, 1], [8, 1]]), digits, lengths=torch.tensor([4, 6])
    )
    # 8 8 3 1 has more 8s than 1s; 8 8 3 1 1 1 has not.
    assert items.labels.tolist() == [1, 0]
    assert items.digits[0].tolist() == [8, 8, 3, 1, 0, 0]


def test_as_many_of_either_is_no() -> None:
    items = make_items(
        torch.tensor([[8, 1]]), torch.tensor([[8, 1]]), lengths=torch.tensor([2])
    )
    assert items.labels.tolist() == [0]


def test_truth_is_spread_evenly_over_the_querys_digits() -> None:
    # Padding is the digit 0, which is asked for here and must not count.
    items = make_items(
        torch.tensor([[0, 7]]), torch.tensor([[0, 7, 5, 0]]), lengths=torch.tensor([3])
    )
    assert true_attribution(items).tolist() == [[0.5, 0.5, 0.0, 0.0]]


def test_half_of_the_drawn_digits_are_asked_for() -> None:
    items = draw_items(4000, torch.Generator().manual_seed(0))
    share = is_queried(items).sum() / items.attention_mask.sum()
    assert abs(share - 0.5) < 0.01
    assert (items.queries[:, 0] != items.queries[:, 1]).all()
    assert set(items.attention_mask.sum(dim=-1).tolist()) == set(range(1, 11))
