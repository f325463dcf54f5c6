import math

import pytest
import torch

from diffmask_training.experiments.toy.explainers import exact_erasure
from diffmask_training.experiments.toy.scores import divergences
from diffmask_training.experiments.toy.task import Items, make_items


@pytest.fixture
def items() -> Items:
    # True attribution: a half on the first and the second token; padding last.
    return make_items(
        torch.tensor([[8, 1]]), torch.tensor([[8, 1, 5, 8]]), torch.tensor([3])
    )


def test_divergences_by_hand(items: Items) -> None:
    # Found, once padding is left out: 1/4, 1/4, 1/2.
    kl, jensen_shannon = divergences(torch.tensor([[1.0, 1.0, 2.0, 9.0]]), items)
    assert kl.tolist() == pytest.approx([math.log(2)])
    # The middle is 3/8, 3/8, 1/4.
    to_middle = math.log(0.5 / 0.375)
    from_found = 0.5 * math.log(0.25 / 0.375) + 0.5 * math.log(0.5 / 0.25)
    assert jensen_shannon.tolist() == pytest.approx([(to_middle + from_found) / 2])


def test_truth_itself_has_no_divergence(items: Items) -> None:
    kl, jensen_shannon = divergences(torch.tensor([[0.3, 0.3, 0.0, 0.3]]), items)
    assert kl.tolist() == pytest.approx([0.0], abs=1e-7)
    assert jensen_shannon.tolist() == pytest.approx([0.0], abs=1e-7)


def test_items_without_truth_are_left_out() -> None:
    items = make_items(
        torch.tensor([[8, 1], [8, 1]]),
        torch.tensor([[5, 6], [8, 6]]),
        torch.tensor([2, 2]),
    )
    kl, _ = divergences(torch.ones(2, 2), items)
    assert kl.tolist() == pytest.approx([math.log(2)])


def test_erasure_keeps_one_digit_and_diverges_without_end(items: Items) -> None:
    erasure = exact_erasure(items)
    # As many of either: what speaks for "no" is the 1.
    assert erasure.tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert divergences(erasure, items)[0].tolist() == [math.inf]


def test_erasure_takes_either_digit_where_none_speaks_for_the_answer() -> None:
    items = make_items(
        torch.tensor([[8, 1], [8, 1]]),
        torch.tensor([[5, 8, 8, 1], [5, 1, 6, 1]]),
        torch.tensor([4, 4]),
    )
    assert exact_erasure(items).argmax(dim=-1).tolist() == [1, 1]
