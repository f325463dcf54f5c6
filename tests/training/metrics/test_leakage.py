import math

import numpy as np
import pytest

from diffmask_training.errors import MetricError
from diffmask_training.metrics.leakage import (
    AgreementGap,
    BaselineFigures,
    agreement_gap,
    baseline_figures,
    encode_meter,
)


def test_gap_worked_by_hand() -> None:
    gap = agreement_gap(
        labels=np.array([0, 1, 1, 0]),
        by_model=np.array([0, 1, 1, 1]),
        by_evaluator=np.array([0, 0, 0, 1]),
    )
    assert gap == AgreementGap(model=3 / 4, evaluator=1 / 4, gap=1 / 2)


def test_gap_needs_the_same_texts() -> None:
    with pytest.raises(MetricError, match=r"\(3,\), \(3,\) and \(2,\) texts"):
        agreement_gap(
            labels=np.zeros(3, dtype=int),
            by_model=np.zeros(3, dtype=int),
            by_evaluator=np.zeros(2, dtype=int),
        )
    none = np.zeros(0, dtype=int)
    with pytest.raises(MetricError, match="texts"):
        agreement_gap(labels=none, by_model=none, by_evaluator=none)


def test_mask_that_tells_the_label_meters_its_entropy() -> None:
    # Two labels, equally likely whatever the words; masks that keep one place for one
    # label and another for the other let a model that knows them be sure: log 2.
    nats = encode_meter(
        log_selected=np.log(np.ones(6)), log_evaluator=np.log(np.full(6, 0.5))
    )
    assert nats.mean() == pytest.approx(math.log(2))


def test_mask_that_tells_nothing_meters_nothing() -> None:
    same = np.log(np.array([0.9, 0.4, 0.6]))
    assert encode_meter(log_selected=same, log_evaluator=same).tolist() == [0.0] * 3


def test_meter_is_signed_per_text() -> None:
    nats = encode_meter(
        log_selected=np.log(np.array([0.8, 0.25])),
        log_evaluator=np.log(np.array([0.4, 0.5])),
    )
    assert nats == pytest.approx([math.log(2), -math.log(2)])


def test_meter_refuses_impossible_labels_and_other_texts() -> None:
    with pytest.raises(MetricError, match="finite"):
        encode_meter(log_selected=np.zeros(1), log_evaluator=np.array([-math.inf]))
    with pytest.raises(MetricError, match="texts"):
        encode_meter(log_selected=np.zeros(1), log_evaluator=np.zeros(2))
    with pytest.raises(MetricError, match="texts"):
        encode_meter(log_selected=np.zeros(0), log_evaluator=np.zeros(0))


def test_baseline_figures_worked_by_hand() -> None:
    whole = np.array([[0.75, 0.25, 0.0], [0.25, 0.0, 0.75], [0.0, 0.25, 0.75]])
    masked = np.array([[0.25, 0.25, 0.5], [0.25, 0.25, 0.5], [0.25, 0.25, 0.5]])
    first, third = baseline_figures(whole, masked)
    # Nothing is predicted as label 1. KL: 3/4 log 3, and 1/4 log 1 + 3/4 log 3/2 twice.
    assert first.label == 0
    assert (first.num_texts, first.confidence) == (1, 0.25)
    assert first.divergence == pytest.approx(0.75 * math.log(3))
    assert third.label == 2
    assert (third.num_texts, third.confidence) == (2, 0.5)
    assert third.divergence == pytest.approx(0.75 * math.log(1.5))


def test_baseline_that_says_a_label_is_caught() -> None:
    sure = np.array([[0.0, 1.0], [1.0, 0.0]])
    prompt = np.array([[0.0, 1.0], [0.0, 1.0]])
    leaking = baseline_figures(sure, prompt)[1]
    assert leaking == BaselineFigures(
        label=1, num_texts=1, divergence=0.0, confidence=1.0
    )


def test_baseline_needs_a_run_for_each_text() -> None:
    with pytest.raises(MetricError, match=r"\[2, labels\], not \(1, 2\)"):
        baseline_figures(np.full((2, 2), 0.5), np.full((1, 2), 0.5))
    with pytest.raises(MetricError, match="labels"):
        baseline_figures(np.zeros((0, 2)), np.zeros((0, 2)))
