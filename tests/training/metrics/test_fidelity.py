import math

import numpy as np
import pytest
from numpy.typing import NDArray

from diffmask_training.errors import MetricError
from diffmask_training.metrics.fidelity import mask_fidelity, mask_text
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


def test_fidelity_over_texts_worked_by_hand() -> None:
    masks = [_mask(False, True), _mask(True, False), _mask(True, True)]
    figures = mask_fidelity(
        [mask_text(table(CHANCES), mask) for mask in masks], margin=0.5
    )
    assert figures.num_texts == 3
    assert figures.divergence == pytest.approx(math.log(3) / 2 / 3)
    assert figures.agreement == pytest.approx(2 / 3)
    # The second complement turns the label; the third is empty, and a draw goes to
    # label 0.
    assert figures.complement_agreement == pytest.approx(1 / 3)
    assert figures.kept_share == pytest.approx(4 / 6)
    assert figures.violation_rate == pytest.approx(1 / 3)


def test_mask_that_keeps_all_changes_nothing() -> None:
    text = mask_text(table(CHANCES), _mask(True, True))
    assert text.divergence == 0.0
    assert text.is_agreeing


def test_divergence_at_the_margin_is_no_violation() -> None:
    texts = [mask_text(table(CHANCES), _mask(False, True))]
    assert mask_fidelity(texts, margin=texts[0].divergence).violation_rate == 0.0


@pytest.mark.parametrize("mask", [np.ones(2), np.ones((1, 2)) > 0, np.ones(0) > 0])
def test_masks_must_be_masks(mask: NDArray[np.bool_]) -> None:
    with pytest.raises(MetricError, match=r"a mask must be \[tokens\] bool"):
        mask_text(table(CHANCES), mask)


def test_no_text_has_no_fidelity() -> None:
    with pytest.raises(MetricError, match="at least one text"):
        mask_fidelity([], margin=0.1)
