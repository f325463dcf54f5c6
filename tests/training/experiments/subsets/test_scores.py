import pytest
import torch

from diffmask_training.experiments.subsets.scores import score_mask
from diffmask_training.experiments.subsets.search import Minimum


def _minimum(*subsets: list[int]) -> Minimum:
    return Minimum(size=sum(subsets[0]), subsets=torch.tensor(subsets).bool())


def test_mask_is_held_against_the_nearest_subset() -> None:
    minimum = _minimum([1, 1, 0, 0, 0], [0, 0, 1, 1, 0])
    mask = torch.tensor([0, 1, 1, 1, 0]).bool()
    # Two of three kept words are in the second subset, which is found whole.
    found = score_mask(mask, minimum, is_feasible=True)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1.0
    assert found.f1 == pytest.approx(0.8)
    assert not found.is_optimal


def test_mask_of_the_smallest_size_is_optimal_only_when_feasible() -> None:
    minimum = _minimum([1, 1, 0])
    mask = torch.tensor([1, 0, 1]).bool()
    assert score_mask(mask, minimum, is_feasible=True).is_optimal
    assert not score_mask(mask, minimum, is_feasible=False).is_optimal


def test_nothing_kept_where_nothing_is_needed_is_right() -> None:
    empty = torch.zeros(3).bool()
    nothing_needed = Minimum(size=0, subsets=torch.zeros(1, 3).bool())
    assert score_mask(empty, nothing_needed, is_feasible=True).f1 == 1.0
    assert score_mask(~empty, nothing_needed, is_feasible=True).f1 == 0.0
    assert score_mask(empty, _minimum([1, 0, 0]), is_feasible=False).f1 == 0.0
