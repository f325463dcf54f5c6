import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffmask_service.core.decoding import decode, divergence


def logits(*numbers: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(numbers, dtype=np.float32)


def test_probabilities_are_the_softmax() -> None:
    prediction = decode(logits(0.0, math.log(3.0)), ("no", "yes"))
    assert prediction.label == "yes"
    assert prediction.label_index == 1
    assert prediction.probabilities.tolist() == pytest.approx([0.25, 0.75])
    assert prediction.probabilities.dtype == np.float32


def test_large_logits_do_not_overflow() -> None:
    prediction = decode(logits(1e30, -1e30), ("no", "yes"))
    assert prediction.probabilities.tolist() == [1.0, 0.0]


def test_divergence_is_the_closed_form() -> None:
    full, masked = logits(0.0, math.log(3.0)), logits(0.0, 0.0)
    expected = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert divergence(full, masked) == pytest.approx(expected, rel=1e-6)


def test_divergence_of_confident_models_keeps_its_tail() -> None:
    # KL is then the difference of the logits times a probability of nearly one.
    assert divergence(logits(60.0, 0.0), logits(0.0, 60.0)) == pytest.approx(60.0)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=4).flatmap(
        lambda full: st.tuples(
            st.just(full),
            st.lists(
                st.floats(-50, 50, width=32), min_size=len(full), max_size=len(full)
            ),
        )
    )
)
def test_divergence_is_not_negative_and_nil_from_itself(
    case: tuple[list[float], list[float]],
) -> None:
    full, masked = logits(*case[0]), logits(*case[1])
    assert divergence(full, masked) >= 0
    assert divergence(full, full) == 0
