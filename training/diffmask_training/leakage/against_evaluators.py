"""The model against evaluators that know random masks, or the explained ones."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.evaluator import (
    explained_mask,
    fit_evaluator,
    random_mask,
)
from diffmask_training.leakage.masked_texts import (
    masked_probabilities,
    masks_by_state,
)
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check, judge_mean
from diffmask_training.metrics.leakage import agreement_gap, encode_meter
from diffmask_training.metrics.probabilities import log_probability


def check_evaluators(
    classifier: Classifier,
    train: Sequence[ExplainedText],
    test: Sequence[ExplainedText],
    *,
    baseline: Tensor,
    settings: LeakageSettings,
) -> tuple[Check, ...]:
    """Compare the model with evaluators on the input masks of every state.

    Args:
        classifier: The explained model.
        train: Texts that evaluators are fitted to.
        test: Other texts.
        baseline: `[hidden]` float32. The input probe's own.
        settings: Thresholds and how evaluators are fitted.

    Returns:
        For each state, the gap in agreement between the model and an evaluator that
        knows random masks only, and the encode-meter.

    Raises:
        MetricError: There are no test texts.
    """
    unknowing = fit_evaluator(
        classifier, train, random_mask, baseline=baseline, settings=settings.evaluator
    )
    knowing = fit_evaluator(
        classifier,
        train,
        explained_mask,
        baseline=baseline,
        settings=settings.evaluator,
    )
    labels = np.array([text.label for text in test])
    pad_id = classifier.tokenizer.pad_token_id
    checks = []
    for state, masks in masks_by_state(test, "input", classifier.encoder.states):
        by_model, by_unknowing, by_knowing = (
            masked_probabilities(encoder, test, masks, baseline, pad_id)
            for encoder in (classifier.encoder, unknowing, knowing)
        )
        checks.append(_gap(state, labels, by_model, by_unknowing, settings))
        checks.append(_encoding(state, labels, by_knowing, by_unknowing, settings))
    return tuple(checks)


def _gap(
    state: str,
    labels: NDArray[np.int64],
    by_model: NDArray[np.float64],
    by_evaluator: NDArray[np.float64],
    settings: LeakageSettings,
) -> Check:
    ours, theirs = by_model.argmax(axis=-1), by_evaluator.argmax(axis=-1)
    gap = agreement_gap(labels=labels, by_model=ours, by_evaluator=theirs)
    return judge_mean(
        (ours == labels).astype(np.float64) - (theirs == labels),
        test="evaluator_gap",
        state=state,
        threshold=settings.max_gap,
        seed=settings.seed,
        detail=(
            f"{gap.model:.1%} of labels from masked texts by the model,"
            f" {gap.evaluator:.1%} by the evaluator"
        ),
    )


def _encoding(
    state: str,
    labels: NDArray[np.int64],
    by_knowing: NDArray[np.float64],
    by_unknowing: NDArray[np.float64],
    settings: LeakageSettings,
) -> Check:
    rows = np.arange(len(labels))
    selected, evaluator = (
        log_probability(each[rows, labels]) for each in (by_knowing, by_unknowing)
    )
    return judge_mean(
        encode_meter(log_selected=selected, log_evaluator=evaluator),
        test="encode_meter",
        state=state,
        threshold=settings.max_encoding,
        seed=settings.seed,
        detail=(
            f"log probability {selected.mean():.3f} once the masks are known,"
            f" {evaluator.mean():.3f} before"
        ),
    )
