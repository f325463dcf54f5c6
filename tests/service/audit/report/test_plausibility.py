import itertools

import numpy as np
import pytest

from diffmask_service.audit.report.plausibility import (
    PlausibilityCollector,
    auprc,
    matched_spans,
    random_auprc,
    spans,
    token_f1,
)
from diffmask_service.audit.report.reading import Audit
from tests.support.explained import explained


def _bools(bits: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.array([bit == "1" for bit in bits])


@pytest.mark.parametrize(
    ("scores", "marked", "area"),
    [
        ([0.9, 0.8, 0.1], "110", 1.0),
        # Recall 1 comes at precision 1/2: the line from (0, 1) to (0, 0), then up.
        ([0.9, 0.1], "01", (0.0 + 0.5) / 2),
        # All tied: one step from precision 1 at recall 0 to 1/2 at recall 1.
        ([0.5, 0.5], "10", (1 + 0.5) / 2),
    ],
)
def test_area_under_the_curve(scores: list[float], marked: str, area: float) -> None:
    found = auprc(np.array(scores, dtype=np.float32), _bools(marked))
    assert found == pytest.approx(area)


@pytest.mark.parametrize(("num_marked", "num_tokens"), [(1, 1), (1, 2), (2, 5), (5, 6)])
def test_area_of_a_random_order_is_the_mean_of_all(
    num_marked: int, num_tokens: int
) -> None:
    marked = np.arange(num_tokens) < num_marked
    orders = itertools.permutations(np.arange(num_tokens, dtype=np.float32))
    areas = [auprc(np.array(order), marked) for order in orders]
    assert random_auprc(num_marked, num_tokens) == pytest.approx(np.mean(areas))


def test_token_f1_and_spans() -> None:
    assert token_f1(_bools("1100"), _bools("0110")) == pytest.approx(0.5)
    assert token_f1(_bools("0000"), _bools("0110")) == 0
    assert spans(_bools("011011")) == [(1, 3), (4, 6)]
    # (1, 3) covers half of (1, 5), (5, 6) nothing of it.
    assert matched_spans(_bools("011001"), _bools("011110")) == 1
    assert matched_spans(_bools("010001"), _bools("011110")) == 0


def test_figures_are_means_over_texts_with_marks(finished: Audit) -> None:
    collector = PlausibilityCollector(finished)
    for scores, rationale in (
        ([0.9, 0.1, 0.2, 0.8], "[1, 0, 0, 1]"),
        ([0.9, 0.1, 0.2, 0.3], "[0, 1, 0, 0]"),
        ([0.9, 0.1, 0.2, 0.3], "[0, 0, 0, 0]"),
        ([0.9, 0.1, 0.2, 0.3], "{}"),
    ):
        collector.add(explained("a b c d", scores, rationale=rationale))
    collector.add(explained("a b c d", [0.5] * 4))
    found = collector.figures()
    assert found is not None
    assert (found.num_texts, found.num_unread) == (2, 2)
    assert found.marked_share is not None
    assert found.marked_share.value == pytest.approx((0.5 + 0.25) / 2)
    assert found.random_auprc is not None
    assert found.random_auprc.value > found.marked_share.value
    assert found.kept_f1 is not None
    assert found.kept_f1.value == pytest.approx((1 + 0) / 2)
    assert found.top_f1 is not None
    assert found.top_f1.value == pytest.approx((1 + 0) / 2)
    assert found.kept_iou_f1 == pytest.approx(0.5)


def test_the_second_text_of_a_pair_is_left_out(finished: Audit) -> None:
    collector = PlausibilityCollector(finished)
    pair = explained(
        "good film",
        [0.8, 0.1, 0.9],
        tokens=[(0, 4), (5, 9), (0, 4)],
        text_pair="news",
        segments=np.array([0, 0, 1]),
        rationale="good",
    )
    collector.add(pair)
    found = collector.figures()
    assert found is not None
    for measure in (found.auprc, found.kept_f1, found.top_f1):
        assert measure is not None
        assert measure.value == 1
    assert found.marked_share is not None
    assert found.marked_share.value == 0.5


def test_no_rationales_have_no_figures(finished: Audit) -> None:
    collector = PlausibilityCollector(finished)
    collector.add(explained("a", [0.5]))
    assert collector.figures() is None
