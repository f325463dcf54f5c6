import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.conditions import check_condition, entropy, is_met
from diffmask_service.core.predictions import LabelPrediction, ValuePrediction
from diffmask_service.core.values import ExplainWhen, Task
from diffmask_service.errors import (
    DiffMaskError,
    InvalidInput,
    NotFound,
    UnsupportedTask,
)

LABELS = ("bad", "so so", "good")


def prediction(*probabilities: float) -> LabelPrediction:
    index = int(np.argmax(probabilities))
    values = np.array(probabilities, dtype=np.float32)
    return LabelPrediction(
        label=LABELS[index], label_index=index, probabilities=values, logits=values
    )


SURE, TORN = prediction(0.0, 0.0, 1.0), prediction(0.25, 0.25, 0.5)
# Of (1/4, 1/4, 1/2): half of ln 4 and half of ln 2.
TORN_NATS = 1.5 * math.log(2)


@pytest.mark.parametrize(
    ("condition", "sure", "torn"),
    [
        (ExplainWhen(labels=("good",)), True, True),
        (ExplainWhen(labels=("bad", "so so")), False, False),
        (ExplainWhen(probability_below=1.0), False, True),
        (ExplainWhen(probability_below=0.5), False, False),
        (ExplainWhen(probability_at_least=0.5), True, True),
        (ExplainWhen(probability_at_least=0.51), True, False),
        (ExplainWhen(entropy_at_least=TORN_NATS - 1e-6), False, True),
        (ExplainWhen(entropy_at_least=TORN_NATS + 1e-6), False, False),
        (ExplainWhen(entropy_at_least=0.0), True, True),
        (ExplainWhen(labels=("good",), probability_below=0.6), False, True),
        (ExplainWhen(labels=("bad",), probability_below=0.6), False, False),
        (ExplainWhen(probability_at_least=0.4, probability_below=0.6), False, True),
    ],
)
def test_everything_given_must_hold(
    condition: ExplainWhen, sure: bool, torn: bool
) -> None:
    assert is_met(condition, SURE) is sure
    assert is_met(condition, TORN) is torn


@given(st.integers(1, 50))
def test_entropy_of_equal_chances_is_the_logarithm_of_their_number(number: int) -> None:
    equal = np.full(number, 1 / number, dtype=np.float32)
    assert entropy(equal) == pytest.approx(math.log(number), abs=1e-5)


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (ExplainWhen(), InvalidInput, "explain_when is empty"),
        (ExplainWhen(labels=("fine",)), NotFound, "no label 'fine'; it has bad, so so"),
        # It may be a text that strayed into the wrong field.
        (ExplainWhen(labels=("a secret",)), NotFound, "a name of 8 characters"),
        (ExplainWhen(probability_below=1.5), InvalidInput, "1.5; give a number from 0"),
        (ExplainWhen(probability_at_least=-0.1), InvalidInput, "from 0 to 1"),
        (ExplainWhen(probability_below=math.nan), InvalidInput, "is nan"),
        (ExplainWhen(entropy_at_least=-1.0), InvalidInput, "entropy_at_least is -1.0"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(
    condition: ExplainWhen, error: type[DiffMaskError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_condition(condition, task=Task.TEXT_CLASSIFICATION, labels=LABELS)


def test_other_tasks_have_no_label_to_ask_about() -> None:
    condition = ExplainWhen(probability_below=0.5)
    with pytest.raises(UnsupportedTask, match="this one is for regression"):
        check_condition(condition, task=Task.REGRESSION, labels=())
    with pytest.raises(TypeError, match="checked for the task"):
        is_met(condition, ValuePrediction(value=1.0))


def test_a_sound_condition_passes() -> None:
    condition = ExplainWhen(
        labels=LABELS,
        probability_below=1.0,
        probability_at_least=0.0,
        entropy_at_least=9.0,
    )
    check_condition(condition, task=Task.TEXT_CLASSIFICATION, labels=LABELS)
    assert not is_met(replace(condition, labels=()), TORN)
