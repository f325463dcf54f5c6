import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from diffmask_training.errors import MetricError
from diffmask_training.metrics.plausibility import (
    auprc,
    human_budget,
    iou_f1,
    token_f1,
)
from diffmask_training.metrics.rankings import top_tokens


def _mask(*kept: int, num_tokens: int = 10) -> NDArray[np.bool_]:
    return np.isin(np.arange(num_tokens), kept)


def test_auprc_worked_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    # (recall, precision) from the highest threshold down: (0, 1), (1/2, 1), (1/2, 1/2),
    # (1, 2/3); trapezoids 1/2 * 1 and 1/2 * (1/2 + 2/3) / 2.
    assert auprc(scores, _mask(0, 2, num_tokens=4)) == pytest.approx(1 / 2 + 7 / 24)


def test_plausibility_equals_that_of_ferret() -> None:
    # Recorded from ferret 0.4.2, AUPRC without clipping at 0, and token F1 of 3 tokens.
    scores = np.array([0.5, 0.1, 0.9, -0.2, 0.05, 0.3, 0.7])
    rationale = _mask(0, 3, 6, num_tokens=7)
    assert auprc(scores, rationale) == pytest.approx(0.4047619047619047)
    assert token_f1(top_tokens(scores, 3), rationale) == pytest.approx(2 / 3)


def test_perfect_and_equal_scores() -> None:
    rationale = _mask(1, 2, num_tokens=4)
    assert auprc(rationale.astype(float), rationale) == 1.0
    # One threshold: from (0, 1) to recall 1 at the share of marked tokens.
    assert auprc(np.ones(4), rationale) == pytest.approx((1 + 1 / 2) / 2)


def test_unmarked_text_has_no_auprc() -> None:
    assert auprc(np.arange(3.0), _mask(num_tokens=3)) is None


def test_budget_is_the_mean_of_people_rounded() -> None:
    assert human_budget([_mask(1, 2), _mask(3)]) == 2  # 3/2
    assert human_budget([_mask(1, 2), _mask(1, 2, 3)]) == 3  # 5/2
    assert human_budget([_mask(1), _mask(), _mask()]) == 1  # 1/3, but never nothing
    with pytest.raises(MetricError, match="one marked token"):
        human_budget([_mask()])


def test_token_f1_worked_by_hand() -> None:
    # Precision 1/2, recall 1/3.
    assert token_f1(_mask(1, 2), _mask(2, 3, 4)) == pytest.approx(2 / 5)
    assert token_f1(_mask(), _mask(2)) == 0.0
    assert token_f1(_mask(2), _mask()) == 0.0
    assert token_f1(_mask(), _mask()) == 0.0


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20),
)
def test_token_f1_equals_that_of_scikit_learn(tokens: list[tuple[bool, bool]]) -> None:
    keep, rationale = np.array(tokens).T
    theirs = f1_score(rationale, keep, zero_division=0.0)
    assert token_f1(keep, rationale) == pytest.approx(theirs)


def test_span_f1_worked_by_hand() -> None:
    # Kept 0-2 and 6: the first overlaps marked 1-2 by 2 of 3, the second nothing.
    keep, rationale = _mask(0, 1, 2, 6), _mask(1, 2, 8)
    assert iou_f1([keep], [rationale]) == pytest.approx(1 / 2)
    assert iou_f1([keep], [rationale], threshold=0.7) == 0.0


def test_overlap_of_exactly_half_counts() -> None:
    assert iou_f1([_mask(0)], [_mask(0, 1)]) == 1.0
    assert iou_f1([_mask(0)], [_mask(0, 1, 2)]) == 0.0


def test_spans_are_averaged_by_text_before_f1() -> None:
    keeps = [_mask(0, 5), _mask(3), _mask()]
    rationales = [_mask(0), _mask(), _mask(7, 9)]
    # Precision 1/2 and 0 where something is kept; recall 1 and 0 where marked.
    precision, recall = 1 / 4, 1 / 2
    expected = 2 * precision * recall / (precision + recall)
    assert iou_f1(keeps, rationales) == pytest.approx(expected)


def test_texts_without_spans_score_zero() -> None:
    assert iou_f1([_mask()], [_mask()]) == 0.0
    assert iou_f1([_mask(1)], [_mask()]) == 0.0


@given(st.lists(st.booleans(), min_size=1, max_size=20).filter(any))
def test_mask_matches_itself(kept: list[bool]) -> None:
    mask = np.array(kept)
    assert iou_f1([mask], [mask]) == 1.0
    assert token_f1(mask, mask) == 1.0


def test_masks_must_be_of_the_same_texts() -> None:
    with pytest.raises(MetricError, match="tokens marked"):
        token_f1(_mask(num_tokens=3), _mask(num_tokens=4))
    with pytest.raises(MetricError, match="tokens marked"):
        auprc(np.ones(3), _mask(num_tokens=4))
    with pytest.raises(MetricError, match="tokens marked"):
        iou_f1([], [])
    with pytest.raises(MetricError, match=r"in \[0.5, 1\], not 0.3"):
        iou_f1([_mask()], [_mask()], threshold=0.3)
