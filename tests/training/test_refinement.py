"""Refined masks against exhaustive search over all masks of short texts."""

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffmask_training.batches import Encoding
from diffmask_training.classifier import Classifier
from diffmask_training.errors import ConfigError
from diffmask_training.metrics.probabilities import Predict, divergence
from diffmask_training.probes import Probe
from diffmask_training.records import Record
from diffmask_training.refinement import (
    BaselineChoice,
    Refinement,
    RefinementSettings,
    judge_masks,
    refine,
)
from diffmask_training.removal import removal_by
from tests.support.probes import random_probe
from tests.support.trained import encodings_of_records

MARGIN = 0.1
SENTENCES = (
    "the film was good",
    "awful plot and it is dull",
    "good film but bad plot",
    "very fine",
)


@pytest.fixture(scope="module")
def probe(trained: Classifier) -> Probe:
    return random_probe(trained, "input")


@pytest.fixture(scope="module")
def encodings(trained: Classifier) -> list[Encoding]:
    return encodings_of_records(trained, [Record(text=text) for text in SENTENCES])


def _settings(**changes: object) -> RefinementSettings:
    return RefinementSettings(**{"margin": MARGIN, "steps": 60, **changes})  # type: ignore[arg-type]


def _refined(
    classifier: Classifier, encoding: Encoding, probe: Probe, **changes: object
) -> Refinement:
    (found,) = refine(
        classifier, encoding, kind="input", settings=_settings(**changes), probe=probe
    )
    return found


def _predict(classifier: Classifier, encoding: Encoding, probe: Probe) -> Predict:
    return removal_by(
        "learned_baseline", classifier, encoding, baseline=probe.baseline(0).detach()
    )


def _smallest(predict: Predict, num_tokens: int) -> int:
    """Return the size of the smallest mask within the margin, by trying all."""
    masks = np.array(list(itertools.product([False, True], repeat=num_tokens)))
    rows = predict(masks)
    within = masks[divergence(rows[-1], rows) <= MARGIN]
    return int(within.sum(axis=1).min())


def test_refined_masks_are_as_small_as_exhaustive_search_finds(
    trained: Classifier, encodings: list[Encoding], probe: Probe
) -> None:
    for encoding in encodings:
        predict = _predict(trained, encoding, probe)
        refined = _refined(trained, encoding, probe)
        assert refined.keep.sum() == _smallest(predict, len(encoding.input_ids))


def test_refined_masks_keep_to_the_margin_by_another_run(
    trained: Classifier, encodings: list[Encoding], probe: Probe
) -> None:
    for encoding in encodings:
        refined = _refined(trained, encoding, probe)
        whole, kept = _predict(trained, encoding, probe)(
            np.stack([np.ones_like(refined.keep), refined.keep])
        )
        distance = float(divergence(whole, kept))
        assert distance == pytest.approx(refined.divergence, abs=1e-5)
        assert distance <= MARGIN
        assert refined.is_agreeing


def test_gates_alone_come_near_the_margin(
    trained: Classifier, encodings: list[Encoding], probe: Probe
) -> None:
    # What the optimiser does by itself, without any trial of masks.
    found = [
        _refined(trained, encoding, probe, is_tightened=False, steps=150)
        for encoding in encodings
    ]
    assert all(refined.is_agreeing for refined in found)
    assert np.mean([refined.kept_share for refined in found]) < 0.7
    for refined in found:
        np.testing.assert_array_equal(refined.keep, refined.keep_probability >= 0.5)


def test_known_mask_within_the_margin_is_never_made_larger(
    trained: Classifier, encodings: list[Encoding], probe: Probe
) -> None:
    encoding = encodings[1]
    best = _refined(trained, encoding, probe).keep
    (refined,) = refine(
        trained,
        encoding,
        kind="input",
        # A single step leaves the gates' order to chance.
        settings=_settings(steps=1),
        probe=probe,
        known=best[None],
    )
    assert refined.keep.sum() <= best.sum()


def test_baseline_of_its_own_takes_over_the_whole_text(
    trained: Classifier, encodings: list[Encoding]
) -> None:
    # De Cao et al. 2020, figure 12 b: the vector itself carries the answer.
    def kept(baseline: BaselineChoice, encoding: Encoding) -> float:
        settings = _settings(baseline=baseline, steps=300, is_tightened=False)
        (refined,) = refine(trained, encoding, kind="input", settings=settings)
        assert refined.is_agreeing
        return refined.kept_share

    for encoding in encodings[:2]:
        assert kept("own", encoding) == 0.0
        assert kept("mask", encoding) > 0.0


def test_hidden_gates_have_a_mask_for_every_state(
    trained: Classifier, encodings: list[Encoding]
) -> None:
    hidden = random_probe(trained, "hidden")
    torch.nn.init.normal_(hidden.baselines, generator=torch.Generator().manual_seed(0))
    encoding = encodings[0]
    found = refine(trained, encoding, kind="hidden", settings=_settings(), probe=hidden)
    assert tuple(refined.state for refined in found) == trained.encoder.states
    masks = np.stack([refined.keep for refined in found])
    judged = judge_masks(trained, encoding, masks, probe=hidden)
    for refined, run in zip(found, judged, strict=True):
        assert run.divergence == pytest.approx(refined.divergence, abs=1e-6)
        assert run.divergence <= MARGIN
    # The head reads the first token alone, so the last state needs no other.
    assert not masks[-1, 1:].any()


def test_same_seed_gives_the_same_gates(
    trained: Classifier, encodings: list[Encoding], probe: Probe
) -> None:
    def chances(seed: int) -> NDArray[np.float64]:
        return _refined(
            trained, encodings[0], probe, seed=seed, steps=5
        ).keep_probability

    np.testing.assert_array_equal(chances(0), chances(0))
    assert not np.array_equal(chances(0), chances(1))


@pytest.mark.parametrize(
    ("kind", "baseline", "message"),
    [("hidden", "mask", "stands for no hidden state"), ("input", "probe", "a probe")],
)
def test_baseline_that_cannot_be_had_is_refused(
    trained: Classifier,
    encodings: list[Encoding],
    kind: str,
    baseline: BaselineChoice,
    message: str,
) -> None:
    with pytest.raises(ConfigError, match=message):
        refine(
            trained,
            encodings[0],
            kind="hidden" if kind == "hidden" else "input",
            settings=_settings(baseline=baseline),
        )
