"""Exact search against running every mask by itself."""

import itertools

import pytest
import torch
from torch import Tensor

from diffmask_training.experiments.subsets.classifier import GruClassifier
from diffmask_training.experiments.subsets.problem import Requirement, make_problem
from diffmask_training.experiments.subsets.search import minimum_subsets
from diffmask_training.experiments.subsets.texts import Texts


def _model(seed: int) -> GruClassifier:
    torch.manual_seed(seed)
    model = GruClassifier(num_words=20, num_labels=4, width=5, dropout=0.0)
    # Larger weights than at the start, or all texts have one label.
    for parameter in model.parameters():
        parameter.data *= 3
    return model.requires_grad_(requires_grad=False).eval()


def _text(seed: int, num_words: int) -> Texts:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 20, (1, num_words), generator=generator)
    return Texts(ids=ids, attention_mask=torch.ones_like(ids), labels=torch.tensor([0]))


@pytest.mark.parametrize("requirement", ["prediction", "divergence"])
@pytest.mark.parametrize("seed", range(12))
def test_search_equals_brute_force(seed: int, requirement: Requirement) -> None:
    problem = make_problem(
        _model(seed), _text(seed, num_words=7), requirement=requirement, margin=0.05
    )

    def holds(logits: Tensor) -> Tensor:
        return problem.violation(logits) <= 0

    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=7)))
    every = problem[torch.zeros(len(masks), dtype=torch.long)]
    feasible = masks[every.violation(every.masked_logits(masks)) <= 0]
    sizes = feasible.sum(dim=-1)
    smallest = feasible[sizes == sizes.min()].bool().tolist()

    found = minimum_subsets(problem.model, problem.words[0], holds, max_subsets=1000)
    assert found.size == sizes.min()
    assert sorted(found.subsets.tolist()) == sorted(smallest)


def test_search_that_is_given_up_says_how_far_it_came() -> None:
    words = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))

    def never(logits: Tensor) -> Tensor:
        return torch.zeros(len(logits), dtype=torch.bool)

    # 6 subsets of one word are allowed, 15 of two are not.
    found = minimum_subsets(_model(0), words, never, max_subsets=14)
    assert (found.size, len(found.subsets)) == (2, 0)
