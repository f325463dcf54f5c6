"""Texts that words are tested on: a bounded sample of those that an audit explained."""

import heapq
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffmask_service.audit.report.reading import Audit, Explained, explained_texts
from diffmask_service.audit.report.vocabulary import Deciding
from diffmask_service.audit.report.words import words_of

# Texts are drawn this many times over, for the surest of them.
_TEXTS_FOR_A_SURE_ONE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Texts with each word and, by label, texts that may get one.

    Attributes:
        having: By word: texts with it that are predicted its label.
        by_label: By label that was predicted: texts of it.
        texts_per_word: Most texts that one word is tested on in one way.
    """

    having: Mapping[str, list[Explained]]
    by_label: Mapping[str, list[Explained]]
    texts_per_word: int

    def others(self, word: Deciding) -> list[Explained]:
        """Return the surest texts without it of other labels, as many of each.

        Where there are more labels than texts, those whose surest text is the surest.
        """
        num = _texts_per_label(self.texts_per_word, len(self.by_label))
        ranked = [
            (place, -(text.probability or 0.0), text.row, text)
            for label, texts in self.by_label.items()
            if label != word.label
            for place, text in enumerate(_surest_without(word, texts)[:num])
        ]
        chosen = sorted(ranked, key=lambda each: each[:3])[: self.texts_per_word]
        return [text for *_, text in chosen]


def sample_texts(
    audit: Audit, candidates: Sequence[Deciding], *, texts_per_word: int
) -> Samples:
    """Read an audit for texts to test words on; gates are not read.

    Args:
        audit: A finished audit.
        candidates: The words.
        texts_per_word: Most texts that one word is tested on in one way.

    Raises:
        InvalidInput: A part cannot be read.
    """
    label_by_word = {each.name: each.label for each in candidates}
    having = {each.name: _Reservoir(texts_per_word) for each in candidates}
    # Of the model's labels few may ever be predicted; these few share the texts.
    predicted = [label for label in audit.labels if label in audit.summary["by_label"]]
    num_drawn = _TEXTS_FOR_A_SURE_ONE * _texts_per_label(texts_per_word, len(predicted))
    by_label = {label: _Reservoir(num_drawn) for label in predicted}
    for text in explained_texts(audit, with_gates=False):
        if text.prediction not in by_label:
            continue
        by_label[text.prediction].add(text)
        for key in {word.key for word in words_of(text)} & label_by_word.keys():
            if label_by_word[key] == text.prediction:
                having[key].add(text)
    return Samples(
        having={name: each.texts for name, each in having.items()},
        by_label={name: each.texts for name, each in by_label.items()},
        texts_per_word=texts_per_word,
    )


class _Reservoir:
    """A sample that depends on which texts there are, and not on their order."""

    def __init__(self, num_texts: int) -> None:
        self._num_texts = num_texts
        self._heap: list[tuple[int, int, Explained]] = []

    def add(self, text: Explained) -> None:
        rank = zlib.crc32(str(text.row).encode())
        entry = (-rank, text.row, text)
        if len(self._heap) < self._num_texts:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    @property
    def texts(self) -> list[Explained]:
        return [text for _, _, text in sorted(self._heap, key=lambda each: each[1])]


def _texts_per_label(texts_per_word: int, num_labels: int) -> int:
    # Those of a word's own label are not among them.
    return -(-texts_per_word // max(1, num_labels - 1))


def _surest_without(word: Deciding, texts: Sequence[Explained]) -> list[Explained]:
    others = [
        text for text in texts if all(each.key != word.name for each in words_of(text))
    ]
    return sorted(others, key=lambda text: -(text.probability or 0.0))
