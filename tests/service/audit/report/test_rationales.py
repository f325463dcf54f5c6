import pytest

from diffmask_service.audit.report.rationales import read_rationale
from tests.support.explained import explained

TEXT = "A good, good film"


@pytest.mark.parametrize(
    ("written", "marked"),
    [
        ("[[2, 6]]", [False, True, False, False]),
        ("[[0, 1], [13, 14]]", [True, False, False, True]),
        ("[0, 1, 0, 1]", [False, True, False, True]),
        ('["Good", "film"]', [False, True, True, True]),
        ("good, good", [False, True, True, False]),
        ("[]", [False] * 4),
        ("absent", [False] * 4),
    ],
)
def test_every_way_of_marking_is_read(written: str, marked: list[bool]) -> None:
    text = explained(TEXT, [0, 0, 0, 0], rationale=written)
    found = read_rationale(text)
    assert found is not None
    assert found.tolist() == marked


@pytest.mark.parametrize(
    ("written", "text", "marked"),
    [
        ("art", "Smart art, he said", [False, True, False, False]),
        ("art", "smart", [True]),
        ("very good", "not very goodly", [False, True, True]),
        (")", "so good :)", [False, False, True]),
    ],
)
def test_a_phrase_is_marked_within_words_only_where_it_must(
    written: str, text: str, marked: list[bool]
) -> None:
    found = read_rationale(explained(text, [0] * len(marked), rationale=written))
    assert found is not None
    assert found.tolist() == marked


@pytest.mark.parametrize("written", ["[0, 1, 0]", "{}", "3", "[[1, 2, 3]]", '[1, "a"]'])
def test_what_cannot_be_read_is_none(written: str) -> None:
    assert read_rationale(explained(TEXT, [0] * 4, rationale=written)) is None


def test_no_rationale_is_none() -> None:
    assert read_rationale(explained(TEXT, [0] * 4)) is None
