"""Suspected shortcuts: words that are kept and turn the label as they come and go.

For each candidate a bounded sample is run again, in two ways. Texts that hold the word
lose it: does the label change? Texts of another label, of which the model is sure, get
it in front, which is the same removal seen from the other side: does their label become
the word's? The only reason that a text gives flips it by its removal, rightly; a
shortcut decides whatever else a text says. So insertion ranks the words, and removal
those that are alike in it.
"""

import asyncio
import heapq
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import msgspec

from diffmask_service.audit.folder import write_whole
from diffmask_service.audit.report.estimates import Estimate, Mean, share
from diffmask_service.audit.report.reading import Audit, Explained, explained_texts
from diffmask_service.audit.report.removing import Removing, input_of
from diffmask_service.audit.report.vocabulary import Deciding, VocabularyCollector
from diffmask_service.audit.report.words import words_of
from diffmask_service.core.predictions import LabelPrediction
from diffmask_service.core.values import TextInput
from diffmask_service.errors import InvalidInput

NUM_WORDS = 30
TEXTS_PER_WORD = 20
# Texts are drawn this many times over, for the surest of them.
_TEXTS_FOR_A_SURE_ONE = 4
_FILE = "shortcuts.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What a word did when it was taken away and put in.

    Attributes:
        deciding: The word as the audit found it.
        removal_flips: Share of texts with the word that lose their label without it.
        removal_drop: By how much the probability of that label falls, mean, in [-1, 1].
        insertion_flips: Share of texts of other labels, of which the model is sure,
            that take the word's label when it stands in front.
    """

    deciding: Deciding
    removal_flips: Estimate | None
    removal_drop: Estimate | None
    insertion_flips: Estimate | None

    @property
    def strength(self) -> tuple[float, float]:
        """What ranks it: insertion, then removal, each by its interval's lower end."""
        insertion, removal = self.insertion_flips, self.removal_flips
        return (
            0.0 if insertion is None else insertion.low,
            0.0 if removal is None else removal.low,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """The words that were tested.

    Attributes:
        way: How a word was taken away, in words.
        texts_per_word: Most texts a word and way.
        words: Strongest first.
    """

    way: str
    texts_per_word: int
    words: tuple[Shortcut, ...]


async def find_shortcuts(
    audit: Audit,
    removing: Removing,
    *,
    num_words: int = NUM_WORDS,
    texts_per_word: int = TEXTS_PER_WORD,
) -> Shortcuts | None:
    """Test the most deciding words of an audit, and write down what came out.

    At most twice `num_words` times `texts_per_word` runs of the model.

    Args:
        audit: A finished audit.
        removing: Asks the model that was audited.
        num_words: How many words.
        texts_per_word: Texts that lose a word, and texts that get it.

    Returns:
        None where the model has no single label, or no word can be tested.

    Raises:
        DiffMaskError: Nobody answers any more, or a file cannot be written.
    """
    if not audit.has_classes or not num_words:
        return None
    collector = VocabularyCollector(audit)
    for text in explained_texts(audit):
        collector.add(text)
    candidates = collector.candidates(num_words)
    if not candidates:
        return None
    tester = _Tester(
        labels=audit.labels,
        samples=_sample(audit, candidates, texts_per_word),
        removing=removing,
    )
    words = [await tester.test(each) for each in candidates]
    found = Shortcuts(
        way=removing.way,
        texts_per_word=texts_per_word,
        # Those that are alike in both stay in the order of the candidates.
        words=tuple(sorted(words, key=lambda each: each.strength, reverse=True)),
    )
    content = json.dumps(
        {"format": _FORMAT, "model": audit.summary["model"], **asdict(found)}, indent=1
    )
    write_whole(audit.path, _FILE, content.encode() + b"\n")
    return found


def read_shortcuts(audit: Audit) -> Shortcuts | None:
    """Return what an earlier test wrote down; None where there was none.

    Raises:
        InvalidInput: The file is damaged.
    """
    path = audit.path / _FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Shortcuts)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"{path}: is damaged ({error}); remove it, or run the audit's command again"
        ) from error


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Samples:
    having: Mapping[str, list[Explained]]
    by_label: Mapping[str, list[Explained]]
    texts_per_word: int

    def others(self, word: Deciding) -> list[Explained]:
        """Return the surest texts without it of other labels, as many of each."""
        groups = [
            sorted(
                (text for text in texts if not _holds(text, word)),
                key=lambda text: -(text.probability or 0.0),
            )
            for label, texts in self.by_label.items()
            if label != word.label
        ]
        num = _texts_per_label(self.texts_per_word, len(self.by_label))
        chosen = [text for texts in groups for text in texts[:num]]
        return chosen[: self.texts_per_word]


def _sample(
    audit: Audit, candidates: Sequence[Deciding], texts_per_word: int
) -> _Samples:
    label_by_word = {each.name: each.label for each in candidates}
    having = {each.name: _Reservoir(texts_per_word) for each in candidates}
    num_drawn = _TEXTS_FOR_A_SURE_ONE * _texts_per_label(
        texts_per_word, len(audit.labels)
    )
    by_label = {label: _Reservoir(num_drawn) for label in audit.labels}
    for text in explained_texts(audit):
        if text.prediction not in by_label:
            continue
        by_label[text.prediction].add(text)
        for key in {word.key for word in words_of(text)} & label_by_word.keys():
            if label_by_word[key] == text.prediction:
                having[key].add(text)
    return _Samples(
        having={name: each.texts for name, each in having.items()},
        by_label={name: each.texts for name, each in by_label.items()},
        texts_per_word=texts_per_word,
    )


def _texts_per_label(texts_per_word: int, num_labels: int) -> int:
    # Those of a word's own label are not among them.
    return -(-texts_per_word // max(1, num_labels - 1))


def _holds(text: Explained, word: Deciding) -> bool:
    return any(each.key == word.name for each in words_of(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tester:
    """Tests one word after the other.

    Attributes:
        labels: Label names in index order.
        samples: Texts to test them on.
        removing: Asks the model.
    """

    labels: tuple[str, ...]
    samples: _Samples
    removing: Removing

    async def test(self, word: Deciding) -> Shortcut:
        """Take a word away from texts that hold it, and put it into others."""
        having = self.samples.having[word.name]
        others = self.samples.others(word)
        removed, inserted = await asyncio.gather(
            asyncio.gather(*(self._without(word.name, text) for text in having)),
            asyncio.gather(*(self._with(word.name, text) for text in others)),
        )
        drop, num_flipped = Mean(), 0
        for text, said in zip(having, removed, strict=True):
            if said is not None and text.prediction is not None:
                index = self.labels.index(text.prediction)
                num_flipped += said.label_index != index
                left = float(said.probabilities[index])
                drop.add((text.probability or 0.0) - left)
        answered = [said for said in inserted if said is not None]
        num_taken = sum(said.label == word.label for said in answered)
        return Shortcut(
            deciding=word,
            removal_flips=share(num_flipped, drop.num),
            removal_drop=drop.estimate(low=-1, high=1),
            insertion_flips=share(num_taken, len(answered)),
        )

    async def _without(self, name: str, text: Explained) -> LabelPrediction | None:
        words = (word for word in words_of(text) if word.key == name)
        positions = sorted({position for word in words for position in word.tokens})
        return await self.removing.without(text, positions)

    async def _with(self, name: str, text: Explained) -> LabelPrediction | None:
        source = input_of(text)
        if source is None:
            return None
        return await self.removing.predict(
            TextInput(text=f"{name} {source.text}", text_pair=source.text_pair)
        )
