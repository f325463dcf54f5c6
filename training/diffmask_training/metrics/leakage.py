"""Whether a mask tells the label by what it keeps rather than by what that says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.classification import accuracy
from diffmask_training.metrics.probabilities import checked_probabilities, divergence


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementGap:
    """How often two models give the label of the whole text from what a mask keeps.

    Attributes:
        model: Share under the explained model, in [0, 1].
        evaluator: Share under an evaluator that knows nothing of the masks, in [0, 1].
        gap: Model minus evaluator. A large one means that the model answers to the
            mask, not to the text that is left.
    """

    model: float
    evaluator: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineFigures:
    """The fully masked text, over the texts of one predicted label.

    Attributes:
        label: The label predicted from the whole texts.
        num_texts: Texts with that label.
        divergence: Mean KL(whole ‖ fully masked), nats.
        confidence: Mean probability of the label when all is masked, in [0, 1]. Near 1,
            the baseline alone says the label.
    """

    label: int
    num_texts: int
    divergence: float
    confidence: float


def agreement_gap(
    *,
    labels: NDArray[np.integer],
    by_model: NDArray[np.integer],
    by_evaluator: NDArray[np.integer],
) -> AgreementGap:
    """Compare the explained model with an evaluator on masked texts.

    Args:
        labels: `[batch]` labels the model predicts from the whole texts.
        by_model: `[batch]` labels it predicts from the masked texts.
        by_evaluator: `[batch]` labels predicted from the masked texts by a model that
            was trained on randomly masked ones.

    Raises:
        MetricError: There is no text, or shapes differ.

    Source: Jethani et al. 2021, "Have We Learned to Explain?", EVAL-X.
    """
    if not labels.size or not labels.shape == by_model.shape == by_evaluator.shape:
        raise MetricError(
            f"labels of {labels.shape}, {by_model.shape} and {by_evaluator.shape} texts"
        )
    model, evaluator = accuracy(by_model, labels), accuracy(by_evaluator, labels)
    return AgreementGap(model=model, evaluator=evaluator, gap=model - evaluator)


def encode_meter(
    *,
    log_selected: NDArray[np.floating],
    log_evaluator: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return what the fact of a selection adds to the text it selects, nats.

    Near 0 on the mean when masks tell no more than the tokens they keep.

    Args:
        log_selected: `[batch]` float, nats. Log probability of the explained label
            under a model fitted to texts masked by the explainer.
        log_evaluator: `[batch]` float, nats. The same, on the same masked texts, under
            a model fitted to texts masked at random.

    Returns:
        `[batch]` float64; its mean is the encode-meter.

    Raises:
        MetricError: There is no text, shapes differ, or a number is not finite.

    Source:
        Puli et al. 2024, "Explanations that reveal all through the definition of
        encoding". This is the plain difference of two fitted models, not their
        estimator.
    """
    if not log_selected.size or log_selected.shape != log_evaluator.shape:
        raise MetricError(
            f"log probabilities of {log_selected.shape} and {log_evaluator.shape} texts"
        )
    difference = log_selected.astype(np.float64) - log_evaluator
    if not np.isfinite(difference).all():
        raise MetricError("log probabilities must be finite")
    return difference


def baseline_figures(
    probabilities: NDArray[np.floating], masked: NDArray[np.floating]
) -> tuple[BaselineFigures, ...]:
    """Measure fully masked texts by the label of the whole ones.

    Args:
        probabilities: `[batch, labels]` float. Of the whole texts.
        masked: `[batch, labels]` float. Of the same texts with every token masked.

    Returns:
        One entry for each label that some text is predicted as, in order.

    Raises:
        MetricError: There is no text, or these are no probabilities.
    """
    whole = checked_probabilities(probabilities)
    empty = checked_probabilities(masked, num_rows=len(whole))
    predicted = whole.argmax(axis=-1)
    distances = divergence(whole, empty)
    return tuple(
        BaselineFigures(
            label=label,
            num_texts=int(np.sum(predicted == label)),
            divergence=float(distances[predicted == label].mean()),
            confidence=float(empty[predicted == label, label].mean()),
        )
        for label in np.unique(predicted).tolist()
    )
