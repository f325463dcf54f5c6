"""Whether a prediction is one that its caller wants explained."""

import math
from collections.abc import Sequence

import numpy as np

from diffmask_service.core.predictions import Float32Array, LabelPrediction, Prediction
from diffmask_service.core.values import ExplainWhen, Task
from diffmask_service.errors import InvalidInput, NotFound, UnsupportedTask, shown_name


def check_condition(
    condition: ExplainWhen, *, task: Task, labels: Sequence[str]
) -> None:
    """Refuse a condition that could not be decided, or never be met by mistake.

    Args:
        condition: What a caller sent.
        task: What the model predicts.
        labels: Its label names.

    Raises:
        UnsupportedTask: The model does not predict one label of several.
        NotFound: It has no label of that name.
        InvalidInput: Nothing is asked, or a bound is out of range.
    """
    if task is not Task.TEXT_CLASSIFICATION:
        raise UnsupportedTask(
            "explain_when is for models that predict one label of several; this one is"
            f" for {task}; leave it out"
        )
    if condition == ExplainWhen():
        raise InvalidInput("explain_when is empty; give a condition, or leave it out")
    for label in condition.labels:
        if label not in labels:
            raise NotFound(
                f"explain_when.labels: the model has no label {shown_name(label)};"
                f" it has {', '.join(labels)}"
            )
    for name, most in (
        ("probability_below", 1.0),
        ("probability_at_least", 1.0),
        ("entropy_at_least", math.inf),
    ):
        bound = getattr(condition, name)
        # Written so that NaN fails as well.
        if bound is not None and not 0 <= bound <= most:
            raise InvalidInput(
                f"explain_when.{name} is {bound}; give a number from 0"
                + ("" if math.isinf(most) else f" to {most:.0f}")
            )


def is_met(condition: ExplainWhen, prediction: Prediction) -> bool:
    """Return whether a prediction meets a checked condition.

    Args:
        condition: The condition.
        prediction: Of a model that predicts one label of several.
    """
    if not isinstance(prediction, LabelPrediction):
        raise TypeError("a condition is checked for the task before it is used")
    probability = float(prediction.probabilities[prediction.label_index])
    below, least = condition.probability_below, condition.probability_at_least
    entropy_bound = condition.entropy_at_least
    return (
        (not condition.labels or prediction.label in condition.labels)
        and (below is None or probability < below)
        and (least is None or probability >= least)
        and (
            entropy_bound is None or entropy(prediction.probabilities) >= entropy_bound
        )
    )


def entropy(probabilities: Float32Array) -> float:
    """Return the entropy of a distribution, nats, in [0, ln labels].

    Args:
        probabilities: `[labels]` float32, sums to 1.
    """
    positive = probabilities[probabilities > 0].astype(np.float64)
    return max(0.0, float(-np.sum(positive * np.log(positive))))
