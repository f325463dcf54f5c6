"""Four tests for masks that give the label away, with thresholds and verdicts."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.against_evaluators import check_evaluators
from diffmask_training.leakage.masked_texts import masked_probabilities
from diffmask_training.leakage.patterns import check_patterns
from diffmask_training.leakage.settings import LeakageSettings
from diffmask_training.leakage.verdicts import Check, judge_mean
from diffmask_training.metrics.leakage import baseline_figures
from diffmask_training.removal import word_vector


def check_leakage(
    classifier: Classifier,
    train: Sequence[ExplainedText],
    test: Sequence[ExplainedText],
    *,
    baseline: Tensor,
    settings: LeakageSettings,
) -> tuple[Check, ...]:
    """Run every test on the masks of a pair of probes.

    Args:
        classifier: The explained model.
        train: Texts that evaluators are fitted to.
        test: Other texts, that figures are measured on.
        baseline: `[hidden]` float32. The input probe's own.
        settings: Thresholds and more.

    Raises:
        MetricError: The test texts have fewer than two predicted labels, or a label is
            predicted for fewer than five of them.
    """
    return (
        *check_patterns(test, "input", classifier.encoder.states, settings),
        *check_patterns(test, "hidden", classifier.encoder.states, settings),
        *check_evaluators(
            classifier, train, test, baseline=baseline, settings=settings
        ),
        check_baseline(classifier, test, baseline=baseline, settings=settings),
    )


def check_baseline(
    classifier: Classifier,
    texts: Sequence[ExplainedText],
    *,
    baseline: Tensor,
    settings: LeakageSettings,
) -> Check:
    """Measure how sure the model is of one label when every token is masked.

    Args:
        classifier: The explained model.
        texts: The texts.
        baseline: `[hidden]` float32. The input probe's own.
        settings: Threshold.

    Raises:
        MetricError: There are no texts.
    """
    mask = word_vector(classifier, classifier.tokenizer.mask_token_id)
    pad_id = classifier.tokenizer.pad_token_id
    nothing = [np.zeros(len(text.tokens), dtype=np.bool_) for text in texts]
    empty, usual = (
        masked_probabilities(classifier.encoder, texts, nothing, vector, pad_id)
        for vector in (baseline, mask)
    )
    label = int(empty.mean(axis=0).argmax())
    whole = np.stack([text.probabilities for text in texts])
    by_label = ", ".join(
        f"{figures.divergence:.2f} nats from texts predicted"
        f" {classifier.labels[figures.label]}"
        for figures in baseline_figures(whole, empty)
    )
    return judge_mean(
        empty[:, label],
        test="all_baseline",
        state="all",
        threshold=settings.max_baseline_confidence,
        seed=settings.seed,
        detail=(
            f"nothing but the baseline is {classifier.labels[label]} with"
            f" {empty[:, label].mean():.2f}, nothing but [MASK] with"
            f" {usual[:, label].mean():.2f}; {by_label}"
        ),
    )
