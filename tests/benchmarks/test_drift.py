"""A week of texts without a shift raises no alert, and a shift raises one."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.drift import broken_promises, describe
from benchmarks.drifting.data import news, reviews
from benchmarks.drifting.rule import complaint_of_rule, drift_rule
from benchmarks.drifting.texts import SeenTexts
from benchmarks.drifting.watch import Course, Watch, halves, watch_course
from tests.support.drifting import random_gates

LABELS = 2
NUM_SHIFTED = 1000
MINUTES = 7 * 24 * 60
# 50,000 texts a week: as much as a test has time for.
PER_MINUTE = 5


def made_texts(
    generator: np.random.Generator, *, num_texts: int, lift: float = 0.0
) -> SeenTexts:
    def gates(label: int) -> NDArray[np.float32]:
        return random_gates(generator, label_index=label, lift=lift)

    return SeenTexts.of_gates(
        (place % LABELS, {"input": gates(place % LABELS), "hidden": gates(0)})
        for place in range(num_texts)
    )


@pytest.fixture(scope="module")
def course() -> Course:
    generator = np.random.default_rng(11)
    past, live = halves(made_texts(generator, num_texts=1600), generator)
    return watch_course(
        Watch(past.count(num_labels=LABELS)),
        live,
        made_texts(generator, num_texts=200, lift=1.5),
        minutes=MINUTES,
        per_minute=PER_MINUTE,
        num_shifted=NUM_SHIFTED,
        generator=generator,
    )


def test_a_week_without_a_shift_stays_below_the_limit(course: Course) -> None:
    assert course.num_quiet == MINUTES
    # Close enough that a limit without the texts' number would be crossed.
    assert 0.3 < course.largest_before < 1


def test_a_shift_is_seen_within_1000_requests(course: Course) -> None:
    assert course.texts_until_seen is not None
    assert course.texts_until_seen <= NUM_SHIFTED


def test_the_rule_keeps_silent_and_then_fires(course: Course) -> None:
    assert complaint_of_rule(course, drift_rule()) == ""


@pytest.mark.parametrize("limit", ["0.2", "9"])
def test_a_rule_that_fires_too_early_or_never_is_found(
    course: Course, limit: str
) -> None:
    rule = drift_rule()
    assert rule["expr"].endswith("(diffmask_state_drift_ratio) > 1")
    spoilt = rule | {"expr": rule["expr"].removesuffix("1") + limit}
    assert rule["alert"] in complaint_of_rule(course, spoilt)


def test_broken_promises_are_told() -> None:
    figures = {"shifts missed": 0, "weeks that the rule misjudges": 0}
    assert not broken_promises(figures)
    figures["shifts missed"] = 2
    assert describe(figures)[-1] == "- shifts missed must be 0, not 2"


def test_reviews_and_news_are_those_of_the_published_files(tmp_path: Path) -> None:
    trees, articles = tmp_path / "sst" / "trees", tmp_path / "ag_news"
    for folder in (trees, articles):
        folder.mkdir(parents=True)
    with gzip.open(trees / "test.txt.gz", "wt", encoding="utf-8") as stream:
        # The second is neutral.
        stream.write("(3 (2 A) (3 film))\n(2 (2 So) (2 so))\n(1 (2 Not) (3 good))\n")
    with gzip.open(articles / "test.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write('"3","A title","and, ""more"" of it"\n')
    assert reviews(tmp_path) == ["A film", "Not good"]
    assert news(tmp_path) == ['A title and, "more" of it']
