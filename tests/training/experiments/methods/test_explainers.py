"""Attributions to the states of a text of a tiny random classifier."""

import numpy as np
import pytest
import torch

from diffmask_training.batches import Encoding
from diffmask_training.classifier import Classifier
from diffmask_training.experiments.methods.explainers import (
    HiddenStates,
    StateStatistics,
    erasure,
    guan,
    integrated_gradients,
    schulz,
    state_statistics,
    top_masks,
)


@pytest.fixture
def text(classifier: Classifier) -> HiddenStates:
    found = classifier.tokenizer("a good movie")
    encoding = Encoding(
        input_ids=tuple(found["input_ids"]),
        token_type_ids=(0,) * len(found["input_ids"]),
        label=None,
    )
    return HiddenStates(classifier, encoding)


def test_every_entry_gives_the_plain_run(text: HiddenStates) -> None:
    logits = text.run(text.states)
    expected = text.logits.expand_as(logits)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_the_last_state_is_read_at_its_first_token_alone(text: HiddenStates) -> None:
    # The classifier's head reads nothing else, so nothing else has any weight there.
    for found in (erasure(text)[-1], integrated_gradients(text)[-1]):
        assert abs(found[0]) > 1e-4
        np.testing.assert_allclose(found[1:], 0, atol=1e-6)
    generator = torch.Generator().manual_seed(0)
    # What replaces the first token must speak for the other label.
    statistics = StateStatistics(
        mean=-text.states[:, :1], scale=torch.full((1, 1, 1), 0.1)
    )
    opposite = text.run_from(len(text.states) - 1, -text.states[-1:])[0]
    assert int(opposite.argmax()) != text.label
    by_schulz = schulz(
        text,
        statistics=statistics,
        num_steps=150,
        generator=generator,
        weight=1e-4,
    )
    assert by_schulz[-1].argmax() == 0
    assert guan(text, num_steps=150, generator=generator)[-1].argmax() == 0


def test_integrated_gradients_of_a_state_add_up(text: HiddenStates) -> None:
    # Only the first token of the last state counts, so no sizes cancel there.
    nothing = text.run_from(len(text.states) - 1, torch.zeros_like(text.states[-1:]))
    change = text.logits[text.label] - nothing[0, text.label]
    found = integrated_gradients(text, num_steps=200)[-1].sum()
    assert found == pytest.approx(abs(float(change)), rel=1e-2)


def test_statistics_are_those_of_all_tokens(text: HiddenStates) -> None:
    found = state_statistics([text, text])
    torch.testing.assert_close(found.mean[:, 0], text.states.mean(dim=1))
    assert found.scale.shape == found.mean.shape


def test_masks_keep_the_highest() -> None:
    attribution = np.array([[0.1, 0.9, 0.5], [3.0, 1.0, 2.0]])
    masks = top_masks(attribution, np.array([2, 0]))
    assert masks.tolist() == [[False, True, True], [False, False, False]]
