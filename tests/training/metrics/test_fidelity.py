import math

import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.fidelity import mask_text
from tests.support.closed_form import table

CHANCES = {(): 0.5, (0,): 0.75, (1,): 0.25, (0, 1): 0.75}


def _mask(*kept: bool) -> NDArray[np.bool_]:
    return np.array(kept)


def test_masked_text_worked_by_hand() -> None:
    text = mask_text(table(CHANCES), _mask(False, True))
    assert (text.num_tokens, text.num_kept) == (2, 1)
    # KL((1/4, 3/4) ‖ (3/4, 1/4)) = 1/4 log 1/3 + 3/4 log 3
    assert text.divergence == pytest.approx(math.log(3) / 2)
    assert not text.is_agreeing
    assert text.is_complement_agreeing


def test_complement_of_everything_is_the_empty_text() -> None:
    text = mask_text(table(CHANCES), _mask(True, True))
    # A draw, which goes to label 0; the whole has label 1.
    assert not text.is_complement_agreeing
    assert mask_text(table(CHANCES), _mask(False, False)).is_complement_agreeing


def test_mask_that_keeps_all_changes_nothing() -> None:
    text = mask_text(table(CHANCES), _mask(True, True))
    assert text.divergence == 0.0
    assert text.is_agreeing


@pytest.mark.parametrize("mask", [np.ones(2), np.ones((1, 2)) > 0, np.ones(0) > 0])
def test_masks_must_be_masks(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(MetricError, match=r"a mask must be \[tokens\] bool"):
        mask_text(table(CHANCES), mask)
