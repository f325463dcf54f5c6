import pytest

from diffmask_training.errors import MetricError
from diffmask_training.metrics.entities import (
    Entity,
    entities,
    entity_f1,
    has_entities,
)


def _found(tags: str) -> set[tuple[str, int, int]]:
    return {(e.kind, e.first, e.last) for e in entities(tags.split())}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", set()),
        ("O O", set()),
        ("B-PER", {("PER", 0, 0)}),
        ("B-PER I-PER O B-LOC", {("PER", 0, 1), ("LOC", 3, 3)}),
        ("B-PER B-PER I-PER", {("PER", 0, 0), ("PER", 1, 2)}),
        ("O I-PER I-PER O", {("PER", 1, 2)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 0), ("LOC", 1, 2)}),
        ("I-PER O I-PER", {("PER", 0, 0), ("PER", 2, 2)}),
        ("I-PER B-PER O O", {("PER", 0, 0), ("PER", 1, 1)}),
    ],
)
def test_entities_are_runs_of_one_kind(
    tags: str, expected: set[tuple[str, int, int]]
) -> None:
    assert _found(tags) == expected


def test_f1_counts_an_entity_only_with_its_kind_and_both_ends() -> None:
    true = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    # The first is cut short, the second is right, the third is of another kind.
    said = [["B-PER", "O", "O", "B-LOC"], ["O", "B-LOC"]]
    assert entity_f1(said, true) == pytest.approx(2 / 6)
    assert entity_f1(true, said) == entity_f1(said, true)
    assert entity_f1(true, true) == 1.0
    # One missed, none made up: precision 1, recall 2/3.
    assert entity_f1([true[0], ["O", "O"]], true) == pytest.approx(0.8)


def test_nothing_is_wrong_where_there_is_no_entity() -> None:
    assert entity_f1([["O"]], [["O"]]) == 1.0


def test_entity_is_a_value() -> None:
    assert Entity(kind="PER", first=0, last=1) in entities(["B-PER", "I-PER"])


@pytest.mark.parametrize("texts", [[], [["O"], ["O"]]])
def test_texts_that_do_not_match_are_refused(texts: list[list[str]]) -> None:
    with pytest.raises(MetricError, match="tagged texts"):
        entity_f1(texts, [["O"]] if texts else [])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("O", "B-PER", "I-PER"), True),
        (("B-PER",), True),
        (("O", "NOUN", "VERB"), False),
        (("O",), False),
        ((), False),
    ],
)
def test_tags_of_entities_are_told_by_their_prefixes(
    labels: tuple[str, ...], expected: bool
) -> None:
    assert has_entities(labels) is expected
