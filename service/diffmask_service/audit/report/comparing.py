"""Two audits of the same data side by side: predictions, figures and gates.

Rows are matched by their place in the input, whose digest must be the same. Scores are
compared over the tokens where both models cut a text alike, else over its words.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffmask_service.audit.report.estimates import Estimate, Mean, share
from diffmask_service.audit.report.groups import Group, GroupCollector
from diffmask_service.audit.report.reading import Audit, Explained, explained_texts
from diffmask_service.audit.report.words import words_of
from diffmask_service.audit.summary import true_label
from diffmask_service.errors import InvalidInput

_NUM_EXAMPLES = 10
# Texts that correlate more are no example of a difference.
_MOSTLY_ALIKE = 0.95
_MUST_MATCH = {
    "input_sha256": "the input",
    "columns": "the columns",
    "task": "the task",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text on which the two models differ most in their scores.

    Attributes:
        ours: The text as the first audit explained it.
        theirs: As the second did.
        correlation: Rank correlation of the scores, in [-1, 1].
    """

    ours: Explained
    theirs: Explained
    correlation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two audits side by side.

    Attributes:
        names: Model, version, precision and digest of each.
        margins: Divergence that the probes of each were fitted to stay under, nats.
        thresholds: Expected gate value from which each keeps a token.
        groups: Figures of each over the texts that both explained.
        num_texts: How many those are.
        agreement: Share of them with the same prediction.
        correlation: Rank correlation of the scores of a text, mean over texts; it is
            not defined where either's are all the same.
        changes: Texts by the two predictions, where they are names.
        correct: Labelled texts by whether the first and the second is right.
        states: Names of the states of each.
        examples: The texts whose scores differ most.
    """

    names: tuple[str, str]
    margins: tuple[float | None, float | None]
    thresholds: tuple[float, float]
    groups: tuple[Group, Group]
    num_texts: int
    agreement: Estimate | None
    correlation: Estimate | None
    changes: dict[tuple[str, str], int]
    correct: dict[tuple[bool, bool], int]
    states: tuple[tuple[str, ...], tuple[str, ...]]
    examples: tuple[Example, ...]


def compare(ours: Audit, theirs: Audit) -> Comparison:
    """Set two audits side by side.

    Args:
        ours: The first.
        theirs: The second.

    Raises:
        InvalidInput: They are of different data or tasks.
    """
    check_comparable(theirs, ours.path, ours.summary)
    collectors = GroupCollector(ours), GroupCollector(theirs)
    agreement, correlation = 0, Mean()
    changes: dict[tuple[str, str], int] = {}
    correct: dict[tuple[bool, bool], int] = {}
    examples: list[tuple[float, int, Example]] = []
    num_texts = 0
    for pair in _pairs(ours, theirs):
        num_texts += 1
        for collector, text in zip(collectors, pair, strict=True):
            collector.add(text)
        said = pair[0].prediction or "", pair[1].prediction or ""
        agreement += said[0] == said[1]
        if ours.has_classes:
            changes[said] = changes.get(said, 0) + 1
            if pair[0].label is not None:
                # An index means a label of the model that is asked.
                right = (
                    said[0] == true_label(pair[0].label, ours.labels),
                    said[1] == true_label(pair[1].label, theirs.labels),
                )
                correct[right] = correct.get(right, 0) + 1
        found = score_correlation(*pair)
        if found is None:
            continue
        correlation.add(found)
        if found > _MOSTLY_ALIKE:
            continue
        example = Example(ours=pair[0], theirs=pair[1], correlation=found)
        heapq.heappush(examples, (-found, -pair[0].row, example))
        if len(examples) > _NUM_EXAMPLES:
            heapq.heappop(examples)
    return Comparison(
        names=(name_of(ours), name_of(theirs)),
        margins=(ours.margin, theirs.margin),
        thresholds=(ours.threshold, theirs.threshold),
        groups=(collectors[0].figures().all, collectors[1].figures().all),
        num_texts=num_texts,
        agreement=share(agreement, num_texts) if ours.has_classes else None,
        correlation=correlation.estimate(low=-1, high=1),
        changes=changes,
        correct=correct,
        states=(ours.states, theirs.states),
        examples=tuple(each for _, _, each in sorted(examples, reverse=True)),
    )


def check_comparable(theirs: Audit, path: Path, summary: Mapping[str, Any]) -> None:
    """Refuse an audit that cannot stand beside another one, made or still to be made.

    Args:
        theirs: The audit.
        path: Folder of the other one.
        summary: What the other's summary holds, or will hold as far as is known: the
            digest of its input, its columns and its task.

    Raises:
        InvalidInput: They are of different data or tasks.
    """
    differing = [
        what
        for key, what in _MUST_MATCH.items()
        if summary.get(key) != theirs.summary.get(key)
    ]
    if differing:
        raise InvalidInput(
            f"{theirs.path}: cannot stand beside {path}, as it differs in"
            f" {', '.join(differing)}; compare audits of the same file and columns"
        )


def name_of(audit: Audit) -> str:
    """Return which model an audit is of."""
    model = audit.summary["model"]
    return (
        f"{model['id']} version {model['version']} ({model['precision']},"
        f" {model['digest'][:12]})"
    )


def score_correlation(left: Explained, right: Explained) -> float | None:
    """Return Spearman's correlation of two explanations of one text, in [-1, 1].

    Returns:
        None where either's scores are all the same, or the texts are cut differently
        and their words are not known.
    """
    if np.array_equal(left.starts, right.starts) and np.array_equal(
        left.ends, right.ends
    ):
        is_word = ~left.is_special & ~right.is_special
        return rank_correlation(left.scores[is_word], right.scores[is_word])
    scores = [
        {(word.segment, word.start): word.score for word in words_of(text)}
        for text in (left, right)
    ]
    shared = sorted(scores[0].keys() & scores[1].keys())
    return rank_correlation(
        np.array([scores[0][key] for key in shared]),
        np.array([scores[1][key] for key in shared]),
    )


def rank_correlation(
    left: NDArray[np.floating], right: NDArray[np.floating]
) -> float | None:
    """Return Spearman's correlation, ties at their mean rank, in [-1, 1].

    Args:
        left: `[tokens]` float.
        right: `[tokens]` float.

    Returns:
        None where either is constant.
    """
    if len(left) < 2 or not np.ptp(left) or not np.ptp(right):
        return None
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[np.float64] = (ends - (counts - 1) / 2)[place]
    return ranks


def _pairs(ours: Audit, theirs: Audit) -> Iterator[tuple[Explained, Explained]]:
    """Yield the texts that both explained; both come in the order of their rows."""
    others = explained_texts(theirs)
    waiting = next(others, None)
    for text in explained_texts(ours):
        while waiting is not None and waiting.row < text.row:
            waiting = next(others, None)
        if waiting is None:
            return
        if waiting.row == text.row:
            yield text, waiting
