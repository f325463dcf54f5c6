from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from diffmask_service.audit.report import Audit, gather, open_audit
from diffmask_service.audit.report.comparing import (
    compare,
    rank_correlation,
    score_correlation,
)
from diffmask_service.errors import InvalidInput
from tests.support.audits import random_texts
from tests.support.explained import audit_tiny, explained
from tests.support.tiny import write_tiny_bundle


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The same data by a bundle that masks nothing and names another version."""
    folder = tmp_path_factory.mktemp("newer")
    write_tiny_bundle(folder / "bundle", version="4")
    return open_audit(audit_tiny(folder, folder / "bundle"))


def test_ranks_correlate_as_in_scipy() -> None:
    draws = np.random.default_rng(3)
    for _ in range(20):
        left, right = draws.integers(0, 5, size=(2, 12)).astype(np.float64)
        found = rank_correlation(left, right)
        assert found == pytest.approx(float(spearmanr(left, right).statistic))


def test_constant_scores_have_no_correlation() -> None:
    assert rank_correlation(np.ones(3), np.arange(3.0)) is None
    assert rank_correlation(np.ones(1), np.ones(1)) is None


def test_texts_that_are_cut_differently_are_compared_by_words() -> None:
    whole = explained("so funny", [0.1, 0.9])
    cut = explained("so funny", [0.2, 0.3, 0.8], tokens=[(0, 2), (3, 6), (6, 8)])
    assert score_correlation(whole, cut) == pytest.approx(1)


def test_an_audit_agrees_with_that_of_the_same_graph(
    finished: Audit, newer: Audit
) -> None:
    found = compare(finished, newer)
    assert found.num_texts == 40
    assert found.agreement is not None
    assert found.agreement.value == 1
    assert found.correlation is not None
    assert found.correlation.value == pytest.approx(1)
    assert found.groups[0] == found.groups[1]
    assert sum(found.correct.values()) == 40
    assert {right for pair in found.correct for right in pair} == {True, False}
    assert ("version 3" in found.names[0], "version 4" in found.names[1]) == (True,) * 2


def test_an_index_means_a_label_of_its_own_model(finished: Audit, newer: Audit) -> None:
    turned = replace(newer, labels=tuple(reversed(newer.labels)))
    found = compare(finished, turned)
    rates = [
        sum(num for right, num in found.correct.items() if right[side]) / 40
        for side in (0, 1)
    ]
    assert [
        None if each.accuracy is None else each.accuracy.value for each in found.groups
    ] == pytest.approx(rates)
    assert rates[0] == pytest.approx(1 - rates[1])


def test_other_data_is_refused(
    finished: Audit, tmp_path: Path, tiny_directory: Path
) -> None:
    other = audit_tiny(tmp_path, tiny_directory, texts=random_texts(20))
    with pytest.raises(InvalidInput, match="differs in the input"):
        gather(finished, against=open_audit(other))


def test_an_unfinished_audit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no finished audit"):
        open_audit(tmp_path)
