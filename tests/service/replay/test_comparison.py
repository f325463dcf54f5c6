import copy
from typing import Any

import numpy as np
import pytest

from diffmask_service.replay import Comparison, compare

STATES = ("word_embeddings", "block_1")
TOKENS = ("good", "movie", "[SEP]")
RECORD: dict[str, Any] = {
    "prediction": {"label": "positive", "probabilities": [0.25, 0.75]},
    "num_tokens": 3,
    "input_gates": [[0.5, 0.0, 1.0], [0.25, 0.5, 0.75]],
    "hidden_gates": None,
}


def compared(after: dict[str, Any], *, tolerance: float = 0.0) -> Comparison:
    return compare(
        "row 7", RECORD, after, states=STATES, tokens=TOKENS, tolerance=tolerance
    )


def changed(name: str, *path: Any, to: object) -> dict[str, Any]:
    after = copy.deepcopy(RECORD)
    place = after
    for step in (name, *path)[:-1]:
        place = place[step]
    place[(name, *path)[-1]] = to
    return after


def test_a_copy_has_no_difference() -> None:
    assert compared(copy.deepcopy(RECORD)).differences == ()


def test_one_bit_of_a_gate_is_a_difference() -> None:
    after = changed(
        "input_gates", 0, 2, to=float(np.nextafter(np.float32(1), np.float32(0)))
    )
    (found,) = compared(after).differences
    assert found.told.startswith("word_embeddings, token 2 '[SEP]': was 1, is 0.99999")
    assert found.size == 2**-24


def test_the_sign_of_a_zero_is_a_difference() -> None:
    (found,) = compared(changed("input_gates", 0, 1, to=-0.0)).differences
    assert found.name == "input_gates"


def test_digits_beyond_a_float32_are_none() -> None:
    assert not compared(changed("input_gates", 1, 0, to=0.25 + 1e-12)).differences


def test_the_largest_difference_is_told() -> None:
    after = changed("input_gates", 1, to=[0.26, 0.0, 0.75])
    (found,) = compared(after).differences
    assert found.told == (
        "block_1, token 1 'movie': was 0.5, is 0 (2 of 6 values differ)"
    )
    assert found.size == 0.5


def test_a_label_is_told_before_its_probability() -> None:
    after = changed("prediction", to={"label": "negative", "probabilities": [0.5, 0.5]})
    (found,) = compared(after).differences
    assert found.told == ("label: was 'positive', is 'negative' (3 of 3 values differ)")
    assert found.size is None


@pytest.mark.parametrize(("tolerance", "num_differing"), [(0.05, 1), (0.2, 0)])
def test_a_tolerance_is_for_numbers(tolerance: float, num_differing: int) -> None:
    after = changed("input_gates", 0, 0, to=0.6)
    assert len(compared(after, tolerance=tolerance).differences) == num_differing
    after = changed("num_tokens", to=4)
    assert len(compared(after, tolerance=tolerance).differences) == 1


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (changed("input_gates", to=None), "is nothing"),
        (changed("input_gates", to=[[0.5, 0.0, 1.0]]), "is [[0.5, 0.0, 1.0]]"),
        (changed("hidden_gates", to=[[0.5]]), "was nothing, is [[0.5]]"),
    ],
)
def test_another_shape_is_a_difference(after: dict[str, Any], told: str) -> None:
    (found,) = compared(after).differences
    assert found.size is None
    assert told in found.told
