"""Words tried on the model that was audited: taken out of texts, and put into others.

For each candidate a bounded sample is run again, in two ways. Texts that hold the word
lose it: does the label change? Texts of another label, of which the model is sure, get
it in front, which is the same removal seen from the other side: does their label become
the word's? What the outcome means is said in `shortcuts`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diffmask_service.audit.report.estimates import Estimate, MeanOfNumbers, share
from diffmask_service.audit.report.reading import Audit, Explained
from diffmask_service.audit.report.removing import Removing, input_of
from diffmask_service.audit.report.sampling import Samples, sample_texts
from diffmask_service.audit.report.shortcuts import (
    Shortcut,
    Shortcuts,
    write_shortcuts,
)
from diffmask_service.audit.report.vocabulary import MIN_TEXTS, Deciding
from diffmask_service.audit.report.words import words_of
from diffmask_service.core.predictions import LabelPrediction
from diffmask_service.core.values import TextInput

TEXTS_PER_WORD = 20


async def find_shortcuts(
    audit: Audit,
    candidates: Sequence[Deciding],
    removing: Removing,
    *,
    texts_per_word: int = TEXTS_PER_WORD,
) -> Shortcuts:
    """Test words of an audit, and write down what came out, or why there is nothing.

    At most twice as many runs of the model as there are candidates times
    `texts_per_word`.

    Args:
        audit: A finished audit.
        candidates: The words; those that are alike in the test stay in their order.
        removing: Asks the model that was audited.
        texts_per_word: Texts that lose a word, and texts that get it.

    Raises:
        DiffMaskError: Nobody answers any more, or a file cannot be written.
    """
    words: list[Shortcut] = []
    if candidates:
        samples = sample_texts(audit, candidates, texts_per_word=texts_per_word)
        tester = _Tester(labels=audit.labels, samples=samples, removing=removing)
        words = [await tester.test(each) for each in candidates]
    found = Shortcuts(
        way=removing.way,
        texts_per_word=texts_per_word,
        words=tuple(sorted(words, key=lambda each: each.strength, reverse=True)),
        untested=None if words else _why_untested(audit),
    )
    write_shortcuts(audit, found)
    return found


def _why_untested(audit: Audit) -> str:
    if not audit.has_classes:
        return "the model has no single label of several"
    if audit.is_hashed:
        return "the texts were hashed"
    return (
        f"no word is in {MIN_TEXTS} texts or more and goes with one class more than"
        " with the others"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What became of a text.

    Attributes:
        is_of_label: Whether it has the word's label now.
        rise: Of that label's probability, in [-1, 1].
    """

    is_of_label: bool
    rise: float


def sufficiency(word: Deciding, removal_flips: float) -> float:
    """Return how often a word has its way in texts that speak against it.

    Args:
        word: The word as the audit found it.
        removal_flips: Share of its texts of its label that lose it without the word.

    Returns:
        Of texts that hold it and have another label without it, the share that it
        turns, in (0, 1]. One turned text more is counted, so that a word without such
        texts is not taken for a weak one.

    Source:
        Pearl 1999, the probability of sufficiency, by interventions on one word.
    """
    num_its = word.predicted.value * word.num_texts
    turned = num_its * removal_flips + 1
    return turned / (turned + word.num_texts - num_its)


def _mean(values: Iterable[float]) -> Estimate | None:
    mean = MeanOfNumbers()
    for value in values:
        mean.add(value)
    return mean.estimate(low=-1, high=1)


def _as_written(name: str, texts: Iterable[Explained]) -> str:
    # A model may read capitals, and know `Paris` but not `paris`.
    spellings = Counter(
        word.text for text in texts for word in words_of(text) if word.key == name
    )
    return spellings.most_common(1)[0][0] if spellings else name


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tester:
    """Tests one word after the other.

    Attributes:
        labels: Label names in index order.
        samples: Texts to test them on.
        removing: Asks the model.
    """

    labels: tuple[str, ...]
    samples: Samples
    removing: Removing

    async def test(self, word: Deciding) -> Shortcut:
        """Take a word away from texts that hold it, and put it into others."""
        having = self.samples.having[word.name]
        others = self.samples.others(word)
        written = _as_written(word.name, having)
        removed, inserted = await asyncio.gather(
            asyncio.gather(*(self._without(word.name, text) for text in having)),
            asyncio.gather(*(self._with(written, text) for text in others)),
        )
        without = self._changes(word.label, having, removed)
        within = self._changes(word.label, others, inserted)
        flips = share(sum(not each.is_of_label for each in without), len(without))
        return Shortcut(
            deciding=word,
            removal_flips=flips,
            removal_drop=_mean(-each.rise for each in without),
            insertion_flips=share(
                sum(each.is_of_label for each in within), len(within)
            ),
            insertion_rise=_mean(each.rise for each in within),
            sufficiency=sufficiency(word, 0.0 if flips is None else flips.value),
        )

    def _changes(
        self,
        label: str,
        texts: Sequence[Explained],
        answers: Sequence[LabelPrediction | None],
    ) -> list[_Change]:
        index = self.labels.index(label)
        return [
            _Change(
                is_of_label=said.label_index == index,
                rise=float(said.probabilities[index]) - text.probabilities[index],
            )
            for text, said in zip(texts, answers, strict=True)
            if said is not None and text.probabilities is not None
        ]

    async def _without(self, name: str, text: Explained) -> LabelPrediction | None:
        words = (word for word in words_of(text) if word.key == name)
        positions = sorted({position for word in words for position in word.tokens})
        return await self.removing.without(text, positions)

    async def _with(self, written: str, text: Explained) -> LabelPrediction | None:
        source = input_of(text)
        if source is None:
            return None
        return await self.removing.predict(
            TextInput(text=f"{written} {source.text}", text_pair=source.text_pair)
        )
