import dataclasses

import numpy as np
import torch

from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.evaluator import (
    EvaluatorSettings,
    explained_mask,
    fit_evaluator,
    masked_run,
    random_mask,
)

SETTINGS = EvaluatorSettings(epochs=1, batch_size=8, learning_rate=1e-3)


def test_fitting_an_evaluator_leaves_the_classifier_as_it_was(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    before = {n: v.clone() for n, v in trained.encoder.model.state_dict().items()}
    evaluator = fit_evaluator(
        trained, explained, random_mask, baseline=torch.zeros(32), settings=SETTINGS
    )
    after = trained.encoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    other = evaluator.model.state_dict()
    assert not all(torch.equal(before[name], other[name]) for name in before)
    assert not any(p.requires_grad for p in evaluator.model.parameters())
    assert not evaluator.model.training


def test_whole_masks_run_the_text_as_it_is(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    texts = explained[:3]
    masks = [torch.ones(len(text.tokens), dtype=torch.bool) for text in texts]
    logits = masked_run(
        trained.encoder, texts, masks, baseline=torch.zeros(32), pad_id=0
    )
    np.testing.assert_allclose(
        logits.detach().double().softmax(dim=-1).numpy(),
        np.stack([text.probabilities for text in texts]),
        atol=1e-6,
    )


def test_random_masks_keep_any_share_alike(
    explained: tuple[ExplainedText, ...],
) -> None:
    generator = torch.Generator().manual_seed(0)
    text = max(explained, key=lambda one: len(one.tokens))
    shares = torch.stack(
        [random_mask(text, generator).float().mean() for _ in range(3000)]
    )
    # Evenly spread over 0 to 1: mean 1/2, and the ends as likely as the middle.
    assert abs(float(shares.mean()) - 0.5) < 0.03
    size = len(text.tokens)
    counts = torch.bincount((shares * size).round().long(), minlength=size + 1)
    assert counts.min() > 0.7 * 3000 / (size + 1)


def test_explained_masks_are_those_that_drop_something(
    explained: tuple[ExplainedText, ...],
) -> None:
    generator = torch.Generator().manual_seed(0)
    text = next(one for one in explained if len(one.tokens) > 4)
    gates = np.zeros((3, len(text.tokens)), dtype=np.float32)
    gates[0] = 1.0  # drops nothing, and is never drawn
    gates[1, :2] = 1.0
    gates[2, 3] = 1.0
    planted = dataclasses.replace(text, gates={"input": gates})
    drawn = {explained_mask(planted, generator).numpy().tobytes() for _ in range(100)}
    masks = planted.hard_masks("input")
    assert drawn == {
        planted.score_mask.tobytes(),
        masks[1].tobytes(),
        masks[2].tobytes(),
    }


def test_text_that_loses_nothing_is_drawn_whole(
    explained: tuple[ExplainedText, ...],
) -> None:
    text = explained[0]
    gates = np.ones((3, len(text.tokens)), dtype=np.float32)
    planted = dataclasses.replace(text, gates={"input": gates})
    assert explained_mask(planted, torch.Generator()).all()
