import math

import numpy as np
import pytest
import torch

from diffmask_training.batches import Encoding
from diffmask_training.errors import CheckpointError, MetricError
from diffmask_training.records import Label
from diffmask_training.tasks import task_named
from diffmask_training.tasks.texts import (
    MultiLabelClassification,
    Regression,
    TextClassification,
)

LABEL, LABELS, VALUE = TextClassification(), MultiLabelClassification(), Regression()


def _text(label: Label | None = None) -> Encoding:
    return Encoding(input_ids=(1, 2), token_type_ids=(0, 0), label=label)


def _coin(chance: float, other: float) -> float:
    pairs = ((chance, other), (1 - chance, 1 - other))
    return sum(p * math.log(p / q) for p, q in pairs)


def test_divergence_of_two_coins_is_the_closed_form() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # 1/4 and 3/4
    masked = torch.tensor([[0.0, 0.0]])  # one half each
    expected = _coin(0.25, 0.5)
    found = LABEL.divergence(logits, masked, {})
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_divergence_is_of_the_masked_from_the_original_prediction() -> None:
    sure, unsure = torch.tensor([[0.0, 9.0]]), torch.tensor([[0.0, 0.0]])
    nearly = LABEL.divergence(sure, unsure, {}).item()
    assert nearly == pytest.approx(math.log(2), abs=2e-3)
    assert LABEL.divergence(unsure, sure, {}).item() > 3.0


def test_divergence_of_equal_predictions_is_zero() -> None:
    logits = torch.randn(5, 3)
    found = LABEL.divergence(logits, logits + 2.0, {})
    assert torch.allclose(found, torch.zeros(5), atol=1e-6)


def test_divergence_is_finite_for_extreme_logits() -> None:
    left, right = torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])
    assert LABEL.divergence(left, right, {}).item() == pytest.approx(1e4)
    # Of the first coin ln 2, of the second half of the logit less ln 2.
    assert LABELS.divergence(left, right, {}).item() == pytest.approx(5e3)


def test_divergence_of_several_labels_is_the_sum_of_coins() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0, 5.0]])
    masked = torch.tensor([[0.0, -math.log(4.0), 5.0]])
    expected = _coin(0.75, 0.5) + _coin(0.5, 0.2)
    found = LABELS.divergence(logits, masked, {})
    assert found.tolist() == pytest.approx([expected], rel=1e-5)


def test_divergence_of_values_is_half_the_square_in_standard_deviations() -> None:
    task = VALUE.measured(torch.tensor([[1.0], [5.0]]))  # a deviation of 2
    found = task.divergence(
        torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0], [3.0]]), {}
    )
    assert found.tolist() == pytest.approx([1.125, 0.0])


def test_a_scale_survives_the_manifest() -> None:
    task = VALUE.measured(torch.tensor([[1.0], [5.0]]))
    assert task.value.scale == 2.0
    assert task.value.tolerance == 1.0
    assert VALUE.with_value(task.value) == task


def test_a_model_of_one_value_is_refused() -> None:
    with pytest.raises(CheckpointError, match="predicts 3 for each of 2"):
        VALUE.measured(torch.tensor([[3.0], [3.0]]))


def test_a_probe_without_a_scale_is_refused() -> None:
    with pytest.raises(CheckpointError, match="fit it again"):
        VALUE.with_value(None)


def test_predictions_and_their_agreement() -> None:
    logits = np.array([0.0, 2.0, -0.5])
    assert LABEL.predict(logits, _text()) == 1
    assert LABELS.predict(logits, _text()) == frozenset({0, 1})
    assert VALUE.predict(np.array([0.25]), _text()) == 0.25
    assert LABEL.agreement(1, 1) == 1.0
    assert LABEL.agreement(1, 0) == 0.0
    assert LABELS.agreement(frozenset({1}), frozenset({1})) == 1.0
    assert LABELS.agreement(frozenset({1}), frozenset({0, 1})) == 0.0
    assert VALUE.agreement(1.0, 1.5) == 1.0
    assert VALUE.agreement(1.0, 1.75) == 0.0


def test_quality_of_several_labels_worked_by_hand() -> None:
    found = [frozenset({0}), frozenset({0, 1}), frozenset[int]()]
    texts = [_text(frozenset(each)) for each in ({0}, {1}, {1})]
    quality = LABELS.quality(found, texts)
    assert quality.accuracy == pytest.approx(1 / 3)
    # Label 0 is right once of two and one; label 1 once of one and two.
    assert quality.macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 2)


def test_where_no_label_ever_holds_nothing_is_wrong() -> None:
    quality = LABELS.quality([frozenset()], [_text(frozenset())])
    assert quality.accuracy == quality.macro_f1 == 1.0


def test_error_and_change_of_values_are_means() -> None:
    quality = VALUE.quality([1.0, 2.0], [_text(1.5), _text(4.0)])
    assert quality.scores == {"mean_absolute_error": 1.25}
    assert quality.accuracy is None
    assert VALUE.fidelity([1.0, 2.0], [1.0, -1.0]) == {"mean_absolute_change": 1.5}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("text_classification", 0.5),
        ("multi_label_classification", 1),
        ("regression", 1),
        ("token_classification", 1.0),
        ("question_answering", 0),
    ],
)
def test_a_label_of_another_task_is_refused(name: str, label: Label) -> None:
    task = task_named(name)  # type: ignore[arg-type]
    logits = np.zeros((2, 2)) if name[0] in "tq" and name[1] != "e" else np.zeros(2)
    predicted = task.predict(logits, _text(label))
    with pytest.raises(MetricError, match="no label of this task"):
        task.quality([predicted], [_text(label)])


def test_texts_are_grouped_by_label_where_they_have_one() -> None:
    assert LABEL.num_groups(("a", "b", "c")) == 3
    assert LABEL.group(2) == 2
    assert LABELS.num_groups(("a", "b", "c")) == 1
    assert LABELS.group(frozenset({2})) == 0
