"""Learned masks on a classifier that reads one word only."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from diffmask_training.experiments.subsets.classifier import GruClassifier
from diffmask_training.experiments.subsets.gates import (
    Estimator,
    MaskSettings,
    Relaxed,
    ScoreFunction,
    learn_masks,
)
from diffmask_training.experiments.subsets.problem import Problem
from diffmask_training.experiments.subsets.texts import Texts

_NEEDED = 2


class OneWordClassifier(GruClassifier):
    """Two labels; the second wins when the third word is there."""

    def run(self, words: Tensor, texts: Texts) -> Tensor:
        """Return the logits for given word vectors."""
        there = 4 * words[:, _NEEDED, 0] - 2
        return torch.stack([torch.zeros_like(there), there], dim=-1)


def _problem() -> Problem:
    ids = torch.zeros(3, 6, dtype=torch.int64)
    model = OneWordClassifier(num_words=1, num_labels=2, width=1, dropout=0.0)
    texts = Texts(
        ids=ids, attention_mask=torch.ones_like(ids), labels=torch.ones(3).long()
    )
    words = torch.ones(3, 6, 1)
    return Problem(
        model=model,
        texts=texts,
        words=words,
        logits=model.run(words, texts),
        requirement="prediction",
        margin=0.0,
    )


@pytest.mark.parametrize("make", [Relaxed, partial(ScoreFunction, is_published=False)])
def test_the_one_word_that_is_read_is_kept(
    make: Callable[[torch.Generator], Estimator],
) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = learn_masks(
        _problem(),
        partial(make, generator),
        MaskSettings(
            num_steps=200, num_restarts=1, learning_rate=0.1, initial_spread=0.5
        ),
        generator=generator,
    )
    assert masks.best.nonzero().tolist() == [[0, _NEEDED], [1, _NEEDED], [2, _NEEDED]]


def test_a_mask_that_breaks_the_requirement_is_never_reported() -> None:
    problem = _problem()
    generator = torch.Generator().manual_seed(0)
    # Starts closed, and one step opens nothing.
    settings = MaskSettings(
        num_steps=1, num_restarts=1, check_every=1, initial_logit=-9.0
    )
    masks = learn_masks(
        problem, partial(Relaxed, generator), settings, generator=generator
    )
    assert masks.best.all()
    assert not masks.last.any()


def test_published_score_term_does_not_know_the_multiplier() -> None:
    problem, logits = _problem(), torch.zeros(3, 6, requires_grad=True)
    gradients = {}
    for is_published in (True, False):
        for multiplier in (1.0, 5.0):
            generator = torch.Generator().manual_seed(3)
            estimator = ScoreFunction(generator, is_published=is_published)
            multipliers = torch.full((3,), multiplier)
            # The first step only starts the moving average.
            estimator.step(problem, logits, multipliers)
            step = estimator.step(problem, logits, multipliers)
            (gradient,) = torch.autograd.grad(step.loss.sum(), logits)
            gradients[is_published, multiplier] = gradient
    torch.testing.assert_close(gradients[True, 1.0], gradients[True, 5.0])
    assert not torch.allclose(gradients[False, 1.0], gradients[False, 5.0])
