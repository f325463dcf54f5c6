"""Labels as data sets write them; the figures themselves are checked with audits."""

import pytest

from diffmask_service.audit.summary import true_label

LABELS = ("negative", "positive")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("positive", "positive"),
        ("1", "positive"),
        ("0.0", "negative"),
        ("2", "2"),
        ("0.5", "0.5"),
        (".0", ".0"),
        ("neutral", "neutral"),
        (None, None),
    ],
)
def test_a_label_is_a_name_or_an_index(written: str | None, meant: str | None) -> None:
    assert true_label(written, LABELS) == meant


def test_a_name_that_looks_like_an_index_is_a_name() -> None:
    assert true_label("1", ("5", "1")) == "1"
