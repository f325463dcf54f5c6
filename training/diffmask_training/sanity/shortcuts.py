"""Shortcuts planted in labelled texts, and whether explanations point at them.

Planted words decide the label of the texts that hold them, against what the rest of the
text says. A classifier that was fine-tuned on such texts goes by them, so which words
matter is known.

Source: Bastings et al. 2022, "Will You Find These Shortcuts?". As there, words that are
part of a shortcut also occur where they decide nothing, so that only the whole shortcut
is worth anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from diffmask_training.config import ShortcutKind
from diffmask_training.errors import DataError
from diffmask_training.explained import ExplainedText
from diffmask_training.metrics.intervals import Comparison, compare, random_control
from diffmask_training.metrics.similarity import shortcut_precision
from diffmask_training.records import Record

_RANDOM_ORDERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """A rule by which planted words decide the label, of two.

    `single_token` is one word for each label; `token_in_context` the same, but only in
    the presence of the third; `ordered_pair` two words, whose order is the label.

    Attributes:
        kind: Of rule.
        words: Three words that the texts do not hold. The first two are the ones that
            decide, the third is the context.
    """

    kind: ShortcutKind
    words: tuple[str, str, str]

    def planted(self, label: int) -> tuple[str, ...]:
        """Return the words that make a label, in their order in the text."""
        first, second, context = self.words
        if self.kind == "single_token":
            return (self.words[label],)
        if self.kind == "token_in_context":
            return (context, self.words[label])
        return (first, second) if label == 0 else (second, first)

    def decoys(self) -> tuple[str, ...]:
        """Return the words of which one by itself decides nothing."""
        if self.kind == "single_token":
            return ()
        return self.words if self.kind == "token_in_context" else self.words[:2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutRecovery:
    """Whether explanations point at a planted shortcut.

    Attributes:
        kind: Of shortcut.
        obedience: Share of the texts with the shortcut to which the classifier gives
            the shortcut's label, in [0, 1]. Only those are explained: of the others,
            nobody knows what matters.
        precision: Share of the planted words among as many top words; the control deals
            the scores out at random. None when fewer than two texts are left.
    """

    kind: ShortcutKind
    obedience: float
    precision: Comparison | None


def choose_words(
    tokenizer: PreTrainedTokenizerBase, records: Sequence[Record], *, seed: int
) -> tuple[str, str, str]:
    """Return three words of the vocabulary that no text holds.

    Args:
        tokenizer: Names the words that are one token each.
        records: The texts.
        seed: Of the choice.

    Raises:
        DataError: The texts hold nearly every word of the vocabulary.
    """
    seen: set[str] = set()
    for record in records:
        seen.update(tokenizer.tokenize(f"{record.text} {record.text_pair or ''}"))
    special = set(tokenizer.all_special_tokens)
    unseen = sorted(
        word
        for word in tokenizer.get_vocab()
        if word.isalpha() and word.isascii() and word not in seen | special
    )
    order = np.random.default_rng(seed).permutation(len(unseen))
    # Byte-pair vocabularies mark words by what stands in front of them.
    usable = (unseen[i] for i in order if len(tokenizer.tokenize(unseen[i])) == 1)
    words = [word for word, _ in zip(usable, range(3), strict=False)]
    if len(words) < 3:
        raise DataError(
            "the texts hold nearly every word of the vocabulary; a shortcut needs three"
            " that they do not"
        )
    return words[0], words[1], words[2]


def plant(
    records: Sequence[Record],
    shortcut: Shortcut,
    *,
    share: float,
    decoy_share: float,
    seed: int,
) -> list[Record]:
    """Return texts of which some hold a shortcut, and have its label.

    Args:
        records: Labelled single texts.
        shortcut: What is planted.
        share: Of the texts that get a whole shortcut, for a label drawn at random.
        decoy_share: Of the texts that get a single word of one and keep their label.
        seed: Of texts, labels and places.
    """
    generator = np.random.default_rng(seed)
    planted = []
    for record in records:
        fate = generator.random()
        if fate < share:
            label = int(generator.integers(2))
            text = _inserted(record.text, shortcut.planted(label), generator)
            planted.append(Record(text=text, label=label))
        elif fate < share + decoy_share and shortcut.decoys():
            decoy = str(generator.choice(shortcut.decoys()))
            text = _inserted(record.text, (decoy,), generator)
            planted.append(Record(text=text, label=record.label))
        else:
            planted.append(record)
    return planted


def recovery(
    texts: Sequence[ExplainedText],
    shortcut: Shortcut,
    *,
    ids: Sequence[int],
    seed: int = 0,
) -> ShortcutRecovery:
    """Measure how well explanations point at a shortcut.

    Args:
        texts: Texts that all hold it, labelled by it, and their gates.
        shortcut: What was planted.
        ids: Vocabulary indices of its three words.
        seed: Of random orders and resamples.

    Raises:
        DataError: There is no text, or one does not hold the shortcut.
    """
    deciding = ids if shortcut.kind == "token_in_context" else ids[:2]
    found: list[float | None] = []
    controls: list[float | None] = []
    obeyed = []
    for index, text in enumerate(texts):
        is_planted = np.isin(np.array(text.encoding.input_ids)[text.words], deciding)
        if not is_planted.any():
            raise DataError("a text does not hold the shortcut that was planted")
        obeyed.append(text.label == text.encoding.label)
        if not obeyed[-1]:
            continue
        scores = text.score[text.words]
        found.append(shortcut_precision(scores, is_planted))
        controls.append(
            random_control(
                lambda order, planted=is_planted: shortcut_precision(order, planted),  # type: ignore[misc]
                scores,
                draws=_RANDOM_ORDERS,
                generator=np.random.default_rng([seed, index]),
            )
        )
    if not obeyed:
        raise DataError("there is no text with a shortcut in it")
    return ShortcutRecovery(
        kind=shortcut.kind,
        obedience=float(np.mean(obeyed)),
        precision=compare(found, controls, generator=np.random.default_rng(seed))
        if len(found) > 1
        else None,
    )


def _inserted(text: str, words: Sequence[str], generator: np.random.Generator) -> str:
    """Return a text with words put in at random places, in their order."""
    tokens = text.split()
    places = np.sort(generator.integers(len(tokens) + 1, size=len(words)))
    for offset, (place, word) in enumerate(zip(places, words, strict=True)):
        tokens.insert(int(place) + offset, word)
    return " ".join(tokens)
