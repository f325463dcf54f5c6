"""Whether the label can be told from the pattern of a mask alone."""

from collections.abc import Sequence

import numpy as np

from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.masked_texts import masks_by_state
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check, judge_mean
from diffmask_training.metrics.mask_patterns import (
    PatternClassifier,
    pattern_predictions,
)
from diffmask_training.probes import ProbeKind

_PATTERN_CLASSIFIERS: tuple[PatternClassifier, ...] = ("linear", "forest")


def check_patterns(
    texts: Sequence[ExplainedText],
    kind: ProbeKind,
    states: Sequence[str],
    settings: LeakageSettings,
) -> tuple[Check, ...]:
    """Tell the label from the pattern of masks alone, state by state.

    Args:
        texts: The texts.
        kind: Of the gates.
        states: Names of the states.
        settings: Threshold and seed.

    Raises:
        MetricError: There are fewer than two predicted labels, or one is predicted for
            fewer than five texts.
    """
    labels = np.array([text.label for text in texts])
    majority = np.bincount(labels).argmax()
    checks = []
    for state, masks in masks_by_state(texts, kind, states):
        hits_by_classifier = {
            name: labels
            == pattern_predictions(masks, labels, seed=settings.seed, classifier=name)
            for name in _PATTERN_CLASSIFIERS
        }
        name, hits = max(hits_by_classifier.items(), key=lambda pair: pair[1].mean())
        checks.append(
            judge_mean(
                hits.astype(np.float64) - (labels == majority),
                test="mask_only",
                kind=kind,
                state=state,
                threshold=settings.max_pattern_gain,
                seed=settings.seed,
                detail=(
                    f"{hits.mean():.1%} of labels told from the pattern ({name}),"
                    f" {np.mean(labels == majority):.1%} are the most frequent one"
                ),
            )
        )
    return tuple(checks)
