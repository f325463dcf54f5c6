import dataclasses

import numpy as np
import pytest
import torch

from diffmask_training.batches import sorted_batches
from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.faithfulness.masks import (
    SCORE,
    MaskFigures,
    MaskSettings,
    measure_hidden_masks,
    measure_input_masks,
)
from diffmask_training.figures import Figures
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.probes import ProbeKind
from diffmask_training.validation import validate
from tests.support.probes import random_probe, random_probes

SETTINGS = MaskSettings(margin=0.1, random_masks=2)


def _validated(
    classifier: Classifier, texts: tuple[ExplainedText, ...], kind: ProbeKind
) -> Figures:
    return validate(
        classifier.encoder,
        random_probes(classifier)[kind],
        sorted_batches([text.encoding for text in texts], batch_size=8, pad_id=0),
        shape=HardConcreteShape(),
        margin=0.1,
    )


def _measured(
    classifier: Classifier, texts: tuple[ExplainedText, ...], kind: ProbeKind
) -> tuple[MaskFigures, ...]:
    probe = random_probes(classifier)[kind]
    if kind == "hidden":
        return measure_hidden_masks(classifier, probe, texts, settings=SETTINGS)
    return measure_input_masks(
        classifier,
        texts,
        states=classifier.encoder.states,
        baseline=probe.baseline(0),
        settings=SETTINGS,
    )


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_figures_equal_those_of_validation(
    trained: Classifier, explained: tuple[ExplainedText, ...], kind: ProbeKind
) -> None:
    expected = {
        state.state: state for state in _validated(trained, explained, kind).states
    }
    found = {
        figures.state: figures
        for figures in _measured(trained, explained, kind)
        if figures.removal == "learned_baseline" and figures.state != SCORE
    }
    assert list(found) == list(expected)
    for name, state in expected.items():
        figures = found[name]
        assert figures.kept_share.mean == pytest.approx(state.kept_share)
        assert figures.agreement.score.mean == pytest.approx(state.agreement)
        assert figures.violation_rate.score.mean == pytest.approx(state.violation_rate)
        assert figures.divergence.score.mean == pytest.approx(
            state.divergence, abs=1e-5
        )


def test_every_removal_is_reported_for_every_state(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    found = _measured(trained, explained, "input")
    names = [(figures.removal, figures.state) for figures in found]
    assert len(set(names)) == len(names) == 3 * (1 + trained.encoder.num_states)


def test_masks_that_keep_the_telling_word_beat_random_masks(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    telling = {"good", "fine", "great", "lovely", "bad", "dull", "awful", "boring"}
    honest = []
    for text in explained:
        row = np.array([token in telling for token in text.tokens], dtype=np.float32)
        gates = np.repeat(row[None], trained.encoder.num_states, axis=0)
        honest.append(dataclasses.replace(text, gates={"input": gates}))
    mask = trained.encoder.model.get_input_embeddings().weight[
        trained.tokenizer.mask_token_id
    ]
    found = measure_input_masks(
        trained,
        honest,
        states=trained.encoder.states,
        baseline=mask,
        settings=SETTINGS,
    )
    score = next(f for f in found if f.state == SCORE and f.removal == "mask_token")
    assert score.agreement.score.mean > 0.9
    assert score.agreement.gain.low > 0
    assert score.complement_agreement.gain.high < 0
    assert score.divergence.gain.high < 0


def test_random_masks_keep_as_many_tokens(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    everything = [
        dataclasses.replace(
            text,
            gates={"hidden": np.ones_like(text.gates["hidden"])},
        )
        for text in explained
    ]
    probe = random_probe(trained, "hidden")
    torch.nn.init.normal_(probe.baselines)
    for figures in measure_hidden_masks(trained, probe, everything, settings=SETTINGS):
        assert figures.kept_share.mean == 1.0
        assert figures.agreement.control.mean == 1.0
        assert figures.divergence.control.mean == pytest.approx(0.0, abs=1e-6)


def test_masks_of_one_size_share_their_random_masks(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    planted = []
    for text in explained[:6]:
        gates = np.zeros((2, len(text.tokens)), dtype=np.float32)
        gates[0, 1] = gates[1, 2] = 1.0  # one token each, another one
        planted.append(dataclasses.replace(text, gates={"input": gates}))
    found = measure_input_masks(
        trained,
        planted,
        states=("first", "second"),
        baseline=torch.zeros(32),
        settings=SETTINGS,
    )
    by_state = {f.state: f for f in found if f.removal == "mask_token"}
    first, second = by_state["first"], by_state["second"]
    assert first.divergence.score != second.divergence.score
    assert first.divergence.control == second.divergence.control
