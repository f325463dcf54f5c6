"""Figures of a whole audit against those of its rows, by arithmetic of another way."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffmask_service.audit.report import Audit, Findings, gather
from diffmask_service.audit.report.groups import GroupCollector
from diffmask_service.audit.report.profiles import ProfileCollector
from diffmask_service.audit.report.reading import explained_texts
from tests.support.audits import read_parts
from tests.support.explained import explained
from tests.support.tiny import LABELS, STATES

MARGIN = 0.1


@pytest.fixture(scope="module")
def findings(finished: Audit) -> Findings:
    return gather(finished)


@pytest.fixture(scope="module")
def rows(finished: Audit) -> list[dict[str, Any]]:
    return read_parts(finished.path)


def test_groups_are_those_of_the_rows(
    findings: Findings, rows: list[dict[str, Any]]
) -> None:
    groups = findings.groups
    for group, members in (
        (groups.all, rows),
        *(
            (each, [row for row in rows if row["prediction"] == each.name])
            for each in groups.by_label
        ),
        *(
            (each, [row for row in rows if row["slice"] == each.name])
            for each in groups.by_slice
        ),
    ):
        assert group.num_texts == len(members) > 0
        found = [
            None if each is None else each.value
            for each in (group.kept, group.agreement, group.divergence, group.violation)
        ]
        assert found == pytest.approx(
            [
                np.mean([row["kept_share"] for row in members]),
                np.mean([row["is_agreeing"] for row in members]),
                np.mean([row["divergence"] for row in members]),
                np.mean([row["divergence"] > MARGIN for row in members]),
            ]
        )
        assert group.accuracy is not None
        assert group.accuracy.value == pytest.approx(
            np.mean([row["prediction"] == LABELS[int(row["label"])] for row in members])
        )
        np.testing.assert_allclose(
            [each.value for each in group.kept_by_state],
            np.mean([row["kept_share_by_state"] for row in members], axis=0),
            rtol=1e-6,
        )
    assert sum(groups.divergences) == len(rows)
    assert groups.divergences[0] == sum(row["divergence"] < 0.001 for row in rows)


def test_accuracy_is_over_labelled_texts(finished: Audit) -> None:
    collector = GroupCollector(finished)
    for label in ("positive", "0", "pos", None):
        collector.add(explained("a", [1.0], label=label, prediction="positive"))
    group = collector.figures().all
    assert group.num_texts == 4
    assert (group.num_labelled, group.num_foreign) == (3, 1)
    assert group.accuracy is not None
    assert group.accuracy.value == pytest.approx(1 / 3)


def test_hashed_texts_are_not_tagged(finished: Audit) -> None:
    collector = ProfileCollector(finished, lambda words: ["noun" for _ in words])
    collector.add(replace(explained("a", [1.0]), text=None, tokens=None))
    found = collector.figures()
    assert (found.num_tagged, found.by_tag) == (0, ())


def test_profiles_are_means_over_texts_of_means_over_tokens(
    findings: Findings, rows: list[dict[str, Any]]
) -> None:
    (whole,) = findings.profiles.all
    gates = [np.array(row["input_gates"]) for row in rows]
    hidden = [np.array(row["hidden_gates"]) for row in rows]
    for estimates, expected in (
        (whole.droppable, [(each < 0.5).mean(axis=1) for each in gates]),
        (whole.input_gates, [each.mean(axis=1) for each in gates]),
        (whole.hidden_gates, [each.mean(axis=1) for each in hidden]),
    ):
        found = [each.value for each in estimates]
        np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-6)
    assert whole.num_tokens == sum(row["num_tokens"] for row in rows)
    assert whole.states_kept.value == pytest.approx(
        np.mean([(each >= 0.5).sum(axis=0).mean() for each in gates])
    )


def test_marked_tokens_have_a_profile_of_their_own(findings: Findings) -> None:
    marked, others = findings.profiles.by_mark
    assert (marked.name, others.name) == ("marked by people", "not marked")
    # The first word of each text, wherever else it stands.
    assert marked.num_texts == 40


def test_tags_and_special_tokens_have_profiles(finished: Audit) -> None:
    collector = ProfileCollector(finished, lambda words: [word[0] for word in words])
    for text in explained_texts(finished):
        collector.add(text)
    found = {each.name: each for each in collector.figures().by_tag}
    assert set(found) == {"[CLS]", "[SEP]", "a", "b", "d", "f", "g", "m"}
    # Gates of `bad` are its state's decay: 1, 0.75 and 0.5, all kept.
    assert found["b"].states_kept.value == len(STATES)
    assert found["[CLS]"].states_kept.value == 0
    assert [each.value for each in found["b"].input_gates] == [1, 0.75, 0.5]


@pytest.mark.parametrize("period", [2, 3, 5])
def test_tagged_texts_are_of_every_kind_in_turn(finished: Audit, period: int) -> None:
    collector = ProfileCollector(
        replace(finished, summary={**finished.summary, "num_rows": 10_000}),
        lambda words: words,
    )
    for row in range(600):
        collector.add(explained(f"kind{row % period}", [1.0], row=row))
    found = collector.figures()
    assert found.num_tagged == pytest.approx(300, abs=2)
    for each in found.by_tag:
        assert each.num_texts == pytest.approx(300 / period, abs=4)
    assert len(found.by_tag) == period


def test_texts_without_a_mark_have_no_part_in_the_profile_of_marks(
    finished: Audit,
) -> None:
    collector = ProfileCollector(finished, None)
    for rationale in ("[0, 1]", "[0, 0]", "absent"):
        collector.add(explained("a b", [0.9, 0.1], rationale=rationale))
    found = collector.figures().by_mark
    assert [each.num_texts for each in found] == [1, 1]


def test_segments_of_pairs_have_profiles(finished: Audit) -> None:
    collector = ProfileCollector(finished, None)
    collector.add(
        explained(
            "a",
            [1.0, 0.25],
            tokens=[(0, 1), (0, 1)],
            text_pair="b",
            segments=np.array([0, 1]),
            rationale="a",
        )
    )
    found = {
        each.name: each.droppable[0].value for each in collector.figures().by_segment
    }
    assert found == {"first text": 0, "second text": 1}
    # Nobody could mark the second one.
    assert [each.name for each in collector.figures().by_mark] == ["marked by people"]


def test_words_that_decide_are_counted(
    findings: Findings, rows: list[dict[str, Any]]
) -> None:
    found = {each.name: each for each in findings.vocabulary.words["negative"]}
    having = [row for row in rows if "bad" in row["text"].split()]
    negative = [row for row in having if row["prediction"] == "negative"]
    bad = found["bad"]
    assert bad.num_texts == len(having)
    # `bad` has the aggregate score of 0.75, and is always kept.
    assert bad.deciding == bad.predicted
    assert bad.deciding.value == pytest.approx(len(negative) / len(having))
    assert bad.score.value == pytest.approx(0.75)
    base = np.mean([row["prediction"] == "negative" for row in rows])
    expected = (len(negative) - len(having) * base) / np.sqrt(
        len(having) * base * (1 - base)
    )
    assert bad.excess == pytest.approx(expected)
    ranks = [each.excess for each in findings.vocabulary.words["negative"]]
    assert ranks == sorted(ranks, reverse=True)
    # `funny` is two tokens; the second has a score under the threshold.
    names = {each.name for each in findings.vocabulary.tokens["positive"]}
    assert "fun" in names
    assert "funny" not in names


def test_the_worst_texts_are_those_of_the_largest_divergence(
    findings: Findings, rows: list[dict[str, Any]]
) -> None:
    expected = sorted((row["divergence"] for row in rows), reverse=True)[:20]
    assert [text.divergence for text in findings.worst] == expected


def test_texts_are_the_same_without_gates(finished: Audit) -> None:
    for whole, light in zip(
        explained_texts(finished),
        explained_texts(finished, with_gates=False),
        strict=True,
    ):
        num_tokens = len(whole.scores)
        assert light.input_gates.shape == light.hidden_gates.shape == (0, num_tokens)
        assert whole.input_gates.shape == (len(STATES), num_tokens)
        assert light.text == whole.text
        assert light.probabilities == whole.probabilities
        assert light.starts.tolist() == whole.starts.tolist()
        assert light.scores.tolist() == whole.scores.tolist()


def test_a_text_that_is_kept_keeps_nothing_else(finished: Audit) -> None:
    for text in explained_texts(finished):
        arrays = (text.starts, text.ends, text.segments, text.is_special, text.scores)
        for array in (*arrays, text.input_gates, text.hidden_gates):
            assert array.flags.owndata


def test_texts_have_the_probability_of_every_label(finished: Audit) -> None:
    for text in explained_texts(finished):
        assert text.probabilities is not None
        assert sum(text.probabilities) == pytest.approx(1)
        assert text.prediction == LABELS[int(np.argmax(text.probabilities))]
        assert text.probability == max(text.probabilities)
