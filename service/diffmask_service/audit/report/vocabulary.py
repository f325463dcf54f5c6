"""Tokens and words that decide each class, and the candidates for shortcuts.

A word decides a class in a text when the hard mask of the score keeps it there and the
model predicts that class. Words are ranked by how far the number of such texts lies
above what the class's share of all texts would give, in standard errors: a frequent
class does not lift every word, and rare words need to be more consistent.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from diffmask_service.audit.report.estimates import (
    Estimate,
    MeanOfNumbers,
    share,
)
from diffmask_service.audit.report.reading import Audit, Explained
from diffmask_service.audit.report.words import words_of

# Rarer words give no interval worth reading, and may tell who wrote a text.
MIN_TEXTS = 5
# Beyond this many, the rarer half is let go, which keeps memory bounded.
MAX_ENTRIES = 100_000
NUM_SHOWN = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """A token or word and what it does for one class.

    Attributes:
        name: The word, without capitals, or the token as the vocabulary spells it.
        label: The class.
        num_texts: Texts with it.
        deciding: Share of those in which it is kept and the class predicted.
        predicted: Share of those in which the class is predicted.
        score: Its largest score in a text of that class, mean over such texts.
        excess: Texts that it decides over those that the class's share of all texts
            would give, in standard errors of that number.
    """

    name: str
    label: str
    num_texts: int
    deciding: Estimate
    predicted: Estimate
    score: Estimate
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What decides each class.

    Attributes:
        words: By label, most deciding first.
        tokens: By label, most deciding first.
        candidates: Words that may be shortcuts, the likeliest first.
        num_let_go: How often a word or token was let go, as they were too many.
        most_let_go: Texts that such a one had been counted in by then, at most.
    """

    words: Mapping[str, tuple[Deciding, ...]]
    tokens: Mapping[str, tuple[Deciding, ...]]
    candidates: tuple[Deciding, ...]
    num_let_go: int
    most_let_go: int


@dataclass(slots=True)
class _Sums:
    """A word in the texts of one class."""

    num_deciding: int = 0
    score: MeanOfNumbers = field(default_factory=MeanOfNumbers)


class _Entry(dict[str, _Sums]):
    """A word, by the classes of its texts."""

    __slots__ = ()

    def add(self, label: str, score: float, *, is_kept: bool) -> None:
        sums = self.setdefault(label, _Sums())
        sums.num_deciding += is_kept
        sums.score.add(score)

    @property
    def num_texts(self) -> int:
        return sum(sums.score.num for sums in self.values())

    def figures(
        self, name: str, share_by_label: Mapping[str, float]
    ) -> Iterator[Deciding]:
        num_texts = self.num_texts
        for label, sums in self.items():
            score = sums.score.estimate(low=0, high=1)
            deciding = share(sums.num_deciding, num_texts)
            predicted = share(sums.score.num, num_texts)
            if score is not None and deciding is not None and predicted is not None:
                yield Deciding(
                    name=name,
                    label=label,
                    num_texts=num_texts,
                    deciding=deciding,
                    predicted=predicted,
                    score=score,
                    excess=excess(sums.num_deciding, num_texts, share_by_label[label]),
                )


def excess(count: int, num: int, expected: float) -> float:
    """Return the score statistic of a share, in standard errors; 0 where it has none.

    Args:
        count: Cases that count.
        num: All cases, >= 1.
        expected: Share that chance would give, in [0, 1].
    """
    spread = math.sqrt(num * expected * (1 - expected))
    return (count - num * expected) / spread if spread else 0.0


class _Counts:
    """Entries by name, at most so many."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: dict[str, _Entry] = {}
        self.num_let_go = 0
        self.most_let_go = 0

    def add(
        self, scores: Mapping[str, float], label: str, *, threshold: np.float32
    ) -> None:
        for name, score in scores.items():
            entry = self._entries.setdefault(name, _Entry())
            entry.add(label, score, is_kept=bool(np.float32(score) >= threshold))
        if len(self._entries) > self._max_entries:
            self._let_go()

    def _let_go(self) -> None:
        # Half of them: a few would soon be followed by others, and those that were
        # seen once alone would leave no place for a word that comes late.
        num_by_name = {name: entry.num_texts for name, entry in self._entries.items()}
        rarest = sorted(num_by_name, key=num_by_name.__getitem__)
        for name in rarest[: len(rarest) // 2]:
            del self._entries[name]
            self.num_let_go += 1
            self.most_let_go = max(self.most_let_go, num_by_name[name])

    def most_deciding(self, share_by_label: Mapping[str, float]) -> list[Deciding]:
        found = (each for each in self._figures(share_by_label) if each.excess > 0)
        return sorted(found, key=lambda each: (-each.excess, each.name))

    def most_telling(self, share_by_label: Mapping[str, float]) -> list[Deciding]:
        """Return words by how they go with a class, whether they are kept or not."""

        def over_chance(word: Deciding) -> float:
            num_predicted = round(word.predicted.value * word.num_texts)
            return excess(num_predicted, word.num_texts, share_by_label[word.label])

        found = (
            each for each in self._figures(share_by_label) if over_chance(each) > 0
        )
        return sorted(found, key=lambda each: (-over_chance(each), each.name))

    def _figures(self, share_by_label: Mapping[str, float]) -> Iterator[Deciding]:
        for name, entry in self._entries.items():
            if entry.num_texts >= MIN_TEXTS:
                yield from entry.figures(name, share_by_label)


class VocabularyCollector:
    """Collects words and tokens.

    Args:
        audit: Whose texts they are.
        num_candidates: Most words that may be shortcuts.
        max_entries: Most words, and most tokens, in memory.
    """

    def __init__(
        self,
        audit: Audit,
        *,
        num_candidates: int = 0,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._audit = audit
        self._num_candidates = num_candidates
        self._words, self._tokens = _Counts(max_entries), _Counts(max_entries)
        self._num_by_label: dict[str, int] = {}

    def add(self, text: Explained) -> None:
        """Count one text, if it has a class and was not hashed."""
        if not self._audit.has_classes or text.prediction is None:
            return
        if text.tokens is None:
            return
        counts = self._num_by_label
        counts[text.prediction] = counts.get(text.prediction, 0) + 1
        threshold = np.float32(self._audit.threshold)
        words: dict[str, float] = {}
        for word in words_of(text):
            words[word.key] = max(word.score, words.get(word.key, 0.0))
        tokens: dict[str, float] = {}
        for position in np.flatnonzero(~text.is_special).tolist():
            name, score = text.tokens[position], float(text.scores[position])
            tokens[name] = max(score, tokens.get(name, 0.0))
        self._words.add(words, text.prediction, threshold=threshold)
        self._tokens.add(tokens, text.prediction, threshold=threshold)

    def figures(self) -> Vocabulary:
        """Return what was collected."""
        counts = self._words, self._tokens
        return Vocabulary(
            words=self._by_label(self._words),
            tokens=self._by_label(self._tokens),
            candidates=self._candidates(),
            num_let_go=sum(each.num_let_go for each in counts),
            most_let_go=max(each.most_let_go for each in counts),
        )

    def _candidates(self) -> tuple[Deciding, ...]:
        """Return the words that decide most and go with a class most, each once.

        All classes and both kinds come in turn. A word that the rest of its texts makes
        needless is not kept, and may still be a shortcut.
        """
        found: dict[str, Deciding] = {}
        if not self._num_candidates:
            return ()
        shares = self._shares()
        of_classes = (
            words
            for ranked in (
                self._words.most_deciding(shares),
                self._words.most_telling(shares),
            )
            for words in self._parted(
                each for each in ranked if any(map(str.isalnum, each.name))
            ).values()
        )
        for row in itertools.zip_longest(*of_classes):
            for each in row:
                if each is not None:
                    found.setdefault(each.name, each)
        return tuple(found.values())[: self._num_candidates]

    def _shares(self) -> Mapping[str, float]:
        total = sum(self._num_by_label.values())
        return {label: num / total for label, num in self._num_by_label.items()}

    def _by_label(self, counts: _Counts) -> dict[str, tuple[Deciding, ...]]:
        found = self._parted(counts.most_deciding(self._shares()))
        return {label: tuple(words[:NUM_SHOWN]) for label, words in found.items()}

    def _parted(self, ranked: Iterable[Deciding]) -> dict[str, list[Deciding]]:
        found: dict[str, list[Deciding]] = {label: [] for label in self._audit.labels}
        for each in ranked:
            found[each.label].append(each)
        return found
