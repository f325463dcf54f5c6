"""Four tests for masks that give the label away, with thresholds and verdicts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.classifier import Classifier
from diffmask_training.encoder import Encoder
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.evaluator import (
    EvaluatorSettings,
    explained_mask,
    fit_evaluator,
    masked_run,
    random_mask,
)
from diffmask_training.leakage.verdicts import Check, Test, judge
from diffmask_training.metrics.intervals import estimate
from diffmask_training.metrics.leakage import (
    agreement_gap,
    baseline_figures,
    encode_meter,
)
from diffmask_training.metrics.mask_patterns import (
    PatternClassifier,
    pattern_predictions,
)
from diffmask_training.metrics.probabilities import log_probability
from diffmask_training.probes import ProbeKind
from diffmask_training.removal import word_vector

_BATCH_SIZE = 64
_PATTERN_CLASSIFIERS: tuple[PatternClassifier, ...] = ("linear", "forest")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageSettings:
    """Thresholds, and how the evaluators are fitted.

    Attributes:
        max_pattern_gain: Largest accuracy over the majority's of telling the label from
            a mask's pattern, in [0, 1].
        max_gap: Largest agreement of the model on masked texts over that of an
            evaluator, in [0, 1].
        max_encoding: Largest encode-meter, nats.
        max_baseline_confidence: Largest mean probability of any one label when all is
            masked, in [0, 1].
        evaluator: How evaluators are fine-tuned.
        seed: Of folds and resamples.
    """

    max_pattern_gain: float = 0.1
    max_gap: float = 0.1
    max_encoding: float = 0.1
    max_baseline_confidence: float = 0.9
    evaluator: EvaluatorSettings = field(default_factory=EvaluatorSettings)
    seed: int = 0


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
    for state, masks in _masks_by_state(texts, kind, states):
        hits_by_classifier = {
            name: labels
            == pattern_predictions(masks, labels, seed=settings.seed, classifier=name)
            for name in _PATTERN_CLASSIFIERS
        }
        name, hits = max(hits_by_classifier.items(), key=lambda pair: pair[1].mean())
        checks.append(
            _judged(
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
    for state, masks in _masks_by_state(test, "input", classifier.encoder.states):
        by_model, by_unknowing, by_knowing = (
            _masked_probabilities(encoder, test, masks, baseline, pad_id)
            for encoder in (classifier.encoder, unknowing, knowing)
        )
        checks.append(_gap(state, labels, by_model, by_unknowing, settings))
        checks.append(_encoding(state, labels, by_knowing, by_unknowing, settings))
    return tuple(checks)


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
    """
    mask = word_vector(classifier, classifier.tokenizer.mask_token_id)
    pad_id = classifier.tokenizer.pad_token_id
    nothing = [np.zeros(len(text.tokens), dtype=np.bool_) for text in texts]
    empty, usual = (
        _masked_probabilities(classifier.encoder, texts, nothing, vector, pad_id)
        for vector in (baseline, mask)
    )
    label = int(empty.mean(axis=0).argmax())
    whole = np.stack([text.probabilities for text in texts])
    by_label = ", ".join(
        f"{figures.divergence:.2f} nats from texts predicted"
        f" {classifier.labels[figures.label]}"
        for figures in baseline_figures(whole, empty)
    )
    return _judged(
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


def _gap(
    state: str,
    labels: NDArray[np.int64],
    by_model: NDArray[np.float64],
    by_evaluator: NDArray[np.float64],
    settings: LeakageSettings,
) -> Check:
    ours, theirs = by_model.argmax(axis=-1), by_evaluator.argmax(axis=-1)
    gap = agreement_gap(labels=labels, by_model=ours, by_evaluator=theirs)
    return _judged(
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
    return _judged(
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


def _judged(
    values: NDArray[np.float64],
    *,
    test: Test,
    state: str,
    threshold: float,
    detail: str,
    seed: int,
    kind: ProbeKind = "input",
) -> Check:
    # The mean of one value a text is the figure.
    figure = estimate(values.tolist(), generator=np.random.default_rng(seed))
    return Check(
        test=test,
        kind=kind,
        state=state,
        figure=figure,
        threshold=threshold,
        verdict=judge(figure, threshold),
        detail=detail,
    )


def _masks_by_state(
    texts: Sequence[ExplainedText], kind: ProbeKind, states: Sequence[str]
) -> Iterator[tuple[str, list[NDArray[np.bool_]]]]:
    if kind == "input":
        yield "score", [text.score_mask for text in texts]
    for index, state in enumerate(states):
        yield state, [text.hard_masks(kind)[index] for text in texts]


@torch.no_grad()
def _masked_probabilities(
    encoder: Encoder,
    texts: Sequence[ExplainedText],
    masks: Sequence[NDArray[np.bool_]],
    baseline: Tensor,
    pad_id: int,
) -> NDArray[np.float64]:
    if not texts:
        raise MetricError("leakage needs texts to be tested on")
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(order), _BATCH_SIZE):
        indices = order[start : start + _BATCH_SIZE]
        logits = masked_run(
            encoder,
            [texts[index] for index in indices],
            [torch.from_numpy(masks[index]) for index in indices],
            baseline=baseline,
            pad_id=pad_id,
        )
        found.update(zip(indices, logits.double().softmax(dim=-1).numpy(), strict=True))
    return np.stack([found[index] for index in range(len(texts))])
