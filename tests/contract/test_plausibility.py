"""The service and the training package measure agreement with people alike."""

import numpy as np
import pytest

from diffmask_service.audit.report import plausibility as ours

theirs = pytest.importorskip("diffmask_training.metrics.plausibility")


@pytest.mark.parametrize("seed", range(20))
def test_the_measures_are_those_of_the_training_package(seed: int) -> None:
    draws = np.random.default_rng(seed)
    num_tokens = int(draws.integers(1, 30))
    # Few values, so that many are tied.
    scores = (draws.integers(0, 6, size=num_tokens) / 5).astype(np.float32)
    marked = draws.random(num_tokens) < 0.4
    keep = scores >= 0.5
    marked[int(draws.integers(num_tokens))] = True
    assert ours.auprc(scores, marked) == pytest.approx(theirs.auprc(scores, marked))
    assert ours.token_f1(keep, marked) == theirs.token_f1(keep, marked)


def test_spans_are_matched_as_in_the_training_package() -> None:
    draws = np.random.default_rng(7)
    collected = ours.SpanF1()
    keeps, marks = [], []
    for _ in range(50):
        keep, marked = draws.random((2, 20)) < 0.5
        marked[3] = True
        collected.add(keep, marked)
        keeps.append(keep)
        marks.append(marked)
    assert collected.value() == pytest.approx(theirs.iou_f1(keeps, marks))
