import math
from collections.abc import Sequence

import numpy as np
import pytest

from diffmask_training.batches import Encoding
from diffmask_training.figures import Figures, MaskedRun, summarise
from diffmask_training.records import Label
from diffmask_training.tasks import task_named

SURE = 1 / (1 + math.exp(-2))
FLIPPED = (2 * SURE - 1) * math.log(SURE / (1 - SURE))


def _summary(labels: Sequence[Label | None]) -> Figures:
    texts = [
        Encoding(input_ids=(1,) * length, token_type_ids=(0,) * length, label=label)
        for length, label in zip((4, 4, 4, 8), labels, strict=True)
    ]
    run = MaskedRun(
        predictions=[0, 0, 1, 0],
        divergences=[0.0, FLIPPED, 0.0, 0.0],
        num_kept=[1, 1, 1, 2],
    )
    return summarise(
        task=task_named("text_classification"),
        states=("only",),
        texts=texts,
        predictions=[0, 1, 1, 0],
        runs=[run],
        margin=0.5,
    )


def test_figures_of_a_case_worked_by_hand() -> None:
    figures = _summary([0, 1, 0, 0])
    state = figures.states[0]
    assert state.kept_share == 5 / 20
    assert state.agreement == 3 / 4
    assert state.divergence == pytest.approx(FLIPPED / 4)
    assert state.excess == pytest.approx((FLIPPED - 0.5) / 4)
    assert state.violation_rate == 1 / 4
    assert figures.accuracy == 3 / 4
    assert state.accuracy == 2 / 4
    assert figures.mean("kept_share") == 0.25
    assert figures.mean_if_labelled("accuracy") == 0.5


def test_unlabelled_texts_have_no_accuracy() -> None:
    figures = _summary([0, 1, None, 0])
    assert figures.accuracy is None
    assert figures.states[0].macro_f1 is None
    assert figures.mean_if_labelled("macro_f1") is None


def test_a_task_s_own_figures_stand_beside_the_common_ones() -> None:
    texts = [
        Encoding(input_ids=(1, 2), token_type_ids=(0, 0), label=label)
        for label in (1.0, 2.0)
    ]
    run = MaskedRun(predictions=[1.5, 4.0], divergences=[0.0, 0.0], num_kept=[1, 1])
    figures = summarise(
        task=task_named("regression"),
        states=("only",),
        texts=texts,
        predictions=[1.0, 3.0],
        runs=[run],
        margin=0.5,
    )
    # The tolerance is half of a standard deviation of one.
    assert figures.states[0].agreement == 0.5
    assert figures.states[0].accuracy is None
    assert figures.scores == {"mean_absolute_error": 0.5}
    assert figures.states[0].scores == {
        "mean_absolute_change": 0.75,
        "mean_absolute_error": np.mean([0.5, 2.0]),
    }
