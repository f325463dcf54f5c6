import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.faithfulness.catalogue import CATALOGUE
from diffmask_training.faithfulness.rankings import (
    RankingFigure,
    RankingSettings,
    Removal,
    measure_rankings,
)
from diffmask_training.integrated_gradients import integrated_gradients
from diffmask_training.metrics.intervals import Comparison
from diffmask_training.removal import OPERATORS

BASELINE = torch.zeros(32)
SETTINGS = RankingSettings(random_orders=4, soft_draws=2, naopc_max_words=5)


def _measure(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    scores: Sequence[NDArray[np.floating]],
    settings: RankingSettings = SETTINGS,
) -> dict[tuple[str, Removal], Comparison | None]:
    figures = measure_rankings(
        classifier, texts, {"one": scores}, baseline=BASELINE, settings=settings
    )
    return {(figure.name, figure.removal): figure.comparison for figure in figures}


@pytest.fixture(scope="module")
def by_gradients(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> dict[tuple[str, Removal], Comparison | None]:
    scores = [integrated_gradients(trained, text) for text in explained]
    return _measure(trained, explained, scores)


@pytest.mark.parametrize(
    "name", ["comprehensiveness", "sufficiency", "log_odds", "tau_loo", "racu"]
)
def test_good_explanations_beat_random_orders(
    by_gradients: dict[tuple[str, Removal], Comparison | None], name: str
) -> None:
    comparison = by_gradients[name, "mask_token"]
    assert comparison is not None
    gain = comparison.gain
    assert gain.low > 0 if CATALOGUE[name].is_higher_better else gain.high < 0


def test_random_explanations_are_no_better_than_chance(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    generator = np.random.default_rng(3)
    scores = [generator.random(text.words.size) for text in explained]
    found = _measure(trained, explained, scores)
    for name in ("comprehensiveness", "sufficiency", "log_odds", "tau_loo", "racu"):
        comparison = found[name, "mask_token"]
        assert comparison is not None
        gain = comparison.gain
        assert gain.low <= 0 if CATALOGUE[name].is_higher_better else gain.high >= 0


def test_reversed_explanations_are_worse_than_chance(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    scores = [-integrated_gradients(trained, text) for text in explained]
    comparison = _measure(trained, explained, scores)["tau_loo", "mask_token"]
    assert comparison is not None
    assert comparison.gain.high < 0


def test_every_figure_is_in_the_catalogue_and_under_every_removal(
    by_gradients: dict[tuple[str, Removal], Comparison | None],
) -> None:
    assert {name for name, _ in by_gradients} == set(CATALOGUE)
    hard = {removal for name, removal in by_gradients if name == "comprehensiveness"}
    assert hard == {"mask_token", "attention_drop", "learned_baseline"}
    soft = {r for name, r in by_gradients if name == "soft_sufficiency"}
    assert soft == {"zeroed_coordinates"}


def test_same_seed_gives_the_same_figures(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    scores = [text.score[text.words] for text in explained[:4]]
    assert _measure(trained, explained[:4], scores) == _measure(
        trained, explained[:4], scores
    )


def test_explainers_share_their_random_orders(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    texts = explained[:4]
    scores = [text.score[text.words] for text in texts]
    figures: tuple[RankingFigure, ...] = measure_rankings(
        trained,
        texts,
        {"one": scores, "other": [-score for score in scores]},
        baseline=BASELINE,
        settings=SETTINGS,
    )
    controls = {
        figure.explainer: figure.comparison.control
        for figure in figures
        if figure.name == "comprehensiveness"
        and figure.removal == "mask_token"
        and figure.comparison is not None
    }
    assert controls["one"] == controls["other"]


def test_main_figures_are_those_of_the_whole_report(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    texts = explained[:4]
    scores = [text.score[text.words] for text in texts]
    whole = _measure(trained, texts, scores)
    main = _measure(
        trained, texts, scores, dataclasses.replace(SETTINGS, extent="main")
    )
    assert {name for name, _ in main} < set(CATALOGUE)
    assert {removal for _, removal in main} == set(OPERATORS)
    assert main == {key: whole[key] for key in main}
