"""Gates over tokens to what a caller reads: scores, hard masks, words and top lists."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffmask_service.core.predictions import BoolArray, Float32Array, Int64Array, Units
from diffmask_service.core.values import TextInput, TokenizedText


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Units and the tokens that make each of them.

    Attributes:
        units: The units, in text order.
        tokens: `[tokens]` int64. Positions of the tokens that belong to a unit, those
            of one unit side by side.
        starts: Where each unit begins within `tokens`.
    """

    units: Units
    tokens: Int64Array
    starts: Int64Array

    def pool(self, values: Float32Array) -> Float32Array:
        """Return for each unit the maximum over its tokens.

        Args:
            values: `[..., tokens]` float32. One value for each token of the text.

        Returns:
            `[..., tokens]` float32, `tokens` now being the units.
        """
        if not len(self.starts):
            return values[..., :0]
        chosen = values[..., self.tokens]
        return np.maximum.reduceat(chosen, self.starts, axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ungrouped:
    """Units that are one token each.

    Attributes:
        units: The units, one for each token of the text.
    """

    units: Units

    def pool(self, values: Float32Array) -> Float32Array:
        """Return the values as they are."""
        return values


def group_tokens(tokenized: TokenizedText) -> Ungrouped:
    """Make every token a unit of its own, special tokens included."""
    return Ungrouped(
        units=Units(
            texts=tokenized.texts,
            starts=tokenized.offsets[:, 0],
            ends=tokenized.offsets[:, 1],
            segments=tokenized.segments,
            is_special=tokenized.is_special,
        )
    )


def group_words(text: TextInput, tokenized: TokenizedText) -> Grouping:
    """Make every word a unit; special tokens and those of white space belong to none.

    Args:
        text: What was tokenized; words are cut out of it as written.
        tokenized: Its tokens.
    """
    sources = (text.text, text.text_pair or "")
    words = [
        word
        for _, run in itertools.groupby(
            np.flatnonzero(~tokenized.is_special).tolist(),
            key=lambda i: (tokenized.segments[i], tokenized.word_index[i]),
        )
        if (word := _word(sources, tokenized, list(run))).end > word.start
    ]
    units = Units(
        texts=tuple(sources[word.segment][word.start : word.end] for word in words),
        starts=np.array([word.start for word in words], dtype=np.int64),
        ends=np.array([word.end for word in words], dtype=np.int64),
        segments=np.array([word.segment for word in words], dtype=np.int64),
        is_special=np.zeros(len(words), dtype=np.bool_),
    )
    tokens = [position for word in words for position in word.tokens]
    lengths = [0, *(len(word.tokens) for word in words)][: len(words)]
    return Grouping(
        units=units,
        tokens=np.array(tokens, dtype=np.int64),
        starts=np.cumsum(np.array(lengths, dtype=np.int64)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """Where a word stands: in which text, from which code point to which."""

    segment: int
    start: int
    end: int
    tokens: list[int]


def _word(sources: Sequence[str], tokenized: TokenizedText, tokens: list[int]) -> _Word:
    # Vocabularies of SentencePiece count the space before a word as part of it, and
    # take a second space for a word.
    segment = int(tokenized.segments[tokens[0]])
    start = int(tokenized.offsets[tokens, 0].min())
    end = int(tokenized.offsets[tokens, 1].max())
    piece = sources[segment][start:end]
    start += len(piece) - len(piece.lstrip())
    return _Word(
        segment=segment, start=start, end=start + len(piece.strip()), tokens=tokens
    )


def aggregate_scores(input_gates: Float32Array) -> Float32Array:
    """Return each token's aggregate score: the mean of its input gates over all states.

    Args:
        input_gates: `[layers, tokens]` float32 in [0, 1], every state of the model.

    Returns:
        `[tokens]` float32 in [0, 1].
    """
    means = np.mean(input_gates, axis=0, dtype=np.float64)
    return np.asarray(means, dtype=np.float32)


def hard_mask(keep_probability: Float32Array, *, threshold: float) -> BoolArray:
    """Return which tokens a hard mask keeps.

    Args:
        keep_probability: `[..., tokens]` float32 in [0, 1]. Gates or aggregate scores.
        threshold: A token at or over it is kept, in [0, 1].

    Returns:
        `[..., tokens]` bool.
    """
    return np.asarray(keep_probability >= np.float32(threshold))


def top_units(scores: Float32Array, units: Units, *, k: int) -> Int64Array:
    """Return the positions of the units of highest score, highest first.

    Args:
        scores: `[tokens]` float32. One for each unit.
        units: The units; special tokens are never chosen.
        k: How many, >= 1; fewer come back where there are fewer.

    Returns:
        `[tokens]` int64. Units of equal score stay in text order.
    """
    candidates = np.flatnonzero(~units.is_special)
    order = np.argsort(-scores[candidates], kind="stable")
    return candidates[order[:k]]


def take_units(units: Units, positions: Int64Array) -> Units:
    """Return the units at some positions, in that order."""
    return Units(
        texts=tuple(units.texts[i] for i in positions),
        starts=units.starts[positions],
        ends=units.ends[positions],
        segments=units.segments[positions],
        is_special=units.is_special[positions],
    )
