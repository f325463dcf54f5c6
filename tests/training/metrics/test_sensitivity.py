import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.metrics import sensitivity_max
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.sensitivity import Sensitivity, sensitivity

WEIGHTS = np.array([1.0, -2.0, 0.5, 3.0])
INPUT = np.array([0.2, -0.4, 1.0, 0.6])
OFFSETS = np.array([[0.1, 0, 0, -0.2], [0.05, 0.3, -0.1, 0], [0, 0, 0.2, 0.1]])


def _explain(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return WEIGHTS * values**2


def _in_turn(
    offsets: NDArray[np.float64],
) -> Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]:
    upcoming = iter(offsets)
    return lambda values, _: values + next(upcoming)


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_sensitivity_worked_by_hand() -> None:
    found = sensitivity(
        lambda values: values,
        np.array([3.0, 4.0]),
        perturb=_in_turn(np.array([[1.0, 0.0], [0.0, -3.0]])),
        draws=2,
        generator=_generator(),
    )
    # The explanation has norm 5 and moves by 1, then by 3.
    assert found == Sensitivity(maximum=3 / 5, mean=2 / 5)


def test_maximum_equals_that_of_captum() -> None:
    ours = sensitivity(
        _explain, INPUT, perturb=_in_turn(OFFSETS), draws=3, generator=_generator()
    )
    theirs = sensitivity_max(
        lambda values: (
            (torch.tensor(WEIGHTS) * values[0] ** 2,)
            if isinstance(values, tuple)
            else torch.tensor(WEIGHTS) * values**2
        ),
        torch.tensor(INPUT[None]),
        perturb_func=lambda values: values + torch.tensor(OFFSETS),
        n_perturb_samples=3,
    )
    assert ours is not None
    assert ours.maximum == pytest.approx(float(theirs))


def test_both_equal_those_of_quantus() -> None:
    # Recorded from quantus 0.6.0, MaxSensitivity and AvgSensitivity with the same
    # three perturbations and no normalisation of the explanations.
    ours = sensitivity(
        _explain, INPUT, perturb=_in_turn(OFFSETS), draws=3, generator=_generator()
    )
    assert ours is not None
    assert ours.maximum == pytest.approx(0.4882869, abs=1e-7)
    assert ours.mean == pytest.approx(0.36909648, abs=1e-7)


def test_words_can_be_perturbed_too() -> None:
    length_by_word = {"good": 4.0, "nice": 4.0, "film": 4.0, "picture": 7.0}
    synonym_by_word = {"good": "nice", "film": "picture"}
    found = sensitivity(
        lambda words: np.array([length_by_word[word] for word in words]),
        ["good", "film"],
        perturb=lambda words, _: [synonym_by_word[word] for word in words],
        draws=1,
        generator=_generator(),
    )
    assert found is not None
    assert found.maximum == pytest.approx(3 / math.sqrt(32))


def test_scale_of_the_explanation_does_not_matter() -> None:
    plain = sensitivity(
        _explain, INPUT, perturb=_in_turn(OFFSETS), draws=3, generator=_generator()
    )
    scaled = sensitivity(
        lambda values: 7 * _explain(values),
        INPUT,
        perturb=_in_turn(OFFSETS),
        draws=3,
        generator=_generator(),
    )
    assert plain is not None
    assert scaled is not None
    assert scaled.maximum == pytest.approx(plain.maximum)
    assert scaled.mean == pytest.approx(plain.mean)


def test_empty_explanation_has_no_sensitivity() -> None:
    found = sensitivity(
        _explain,
        np.zeros(4),
        perturb=_in_turn(OFFSETS),
        draws=1,
        generator=_generator(),
    )
    assert found is None


def test_perturbation_must_keep_the_tokens() -> None:
    with pytest.raises(MetricError, match="scores of 4 and of 3 tokens"):
        sensitivity(
            lambda values: values,
            INPUT,
            perturb=lambda values, _: values[1:],
            draws=1,
            generator=_generator(),
        )


def test_sensitivity_needs_a_perturbation() -> None:
    with pytest.raises(MetricError, match="at least one perturbation"):
        sensitivity(
            _explain, INPUT, perturb=_in_turn(OFFSETS), draws=0, generator=_generator()
        )
