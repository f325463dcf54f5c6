import pytest

from diffmask_service.audit.report.reading import Audit
from diffmask_service.audit.report.vocabulary import VocabularyCollector, excess
from tests.support.explained import explained


def test_excess_is_in_standard_errors() -> None:
    assert excess(60, 100, 0.5) == pytest.approx(2)
    assert excess(5, 10, 0.5) == 0
    assert excess(5, 5, 1.0) == 0


def test_a_full_vocabulary_forgets_rare_words_and_says_so(finished: Audit) -> None:
    collector = VocabularyCollector(finished, max_entries=10)
    for index in range(40):
        text = explained(f"good w{index}", [1, 1], prediction="positive")
        collector.add(text)
    for _ in range(5):
        collector.add(explained("bad", [1], prediction="negative"))
    found = collector.figures()
    assert [each.name for each in found.words["positive"]] == ["good"]
    assert found.words["positive"][0].num_texts == 40
    assert (found.num_let_go > 0, found.most_let_go) == (True, 1)


def test_a_word_that_comes_late_finds_a_place(finished: Audit) -> None:
    collector = VocabularyCollector(finished, max_entries=10)
    for index in range(10):
        for _ in range(3):
            collector.add(explained(f"w{index}", [1], prediction="positive"))
    # The first time it is the rarest of all, and makes room for itself.
    for _ in range(6):
        collector.add(explained("bad", [1], prediction="negative"))
    found = collector.figures()
    (bad,) = found.words["negative"]
    assert (bad.name, bad.num_texts) == ("bad", 5)
    # Five of the eleven, of the words and of the tokens.
    assert (found.num_let_go, found.most_let_go) == (10, 3)


def test_candidates_come_from_all_classes_in_turn(finished: Audit) -> None:
    collector = VocabularyCollector(finished, num_candidates=3)
    for _ in range(9):
        collector.add(explained("good fine ,", [1, 1, 1], prediction="positive"))
    for _ in range(6):
        collector.add(explained("bad poor", [1, 1], prediction="negative"))
    names = [each.name for each in collector.figures().candidates]
    assert names == ["bad", "fine", "poor"]


def test_a_word_that_is_never_kept_can_be_a_candidate(finished: Audit) -> None:
    collector = VocabularyCollector(finished, num_candidates=9)
    for _ in range(6):
        collector.add(explained("good rare", [1, 0], prediction="positive"))
        collector.add(explained("bad", [1], prediction="negative"))
    names = [each.name for each in collector.figures().candidates]
    assert set(names) == {"good", "bad", "rare"}
