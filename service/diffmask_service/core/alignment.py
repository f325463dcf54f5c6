"""Gates over tokens to what a caller reads: scores, hard masks, words and top lists."""

import itertools
from dataclasses import dataclass

import numpy as np

from diffmask_service.core.values import (
    BoolArray,
    Float32Array,
    Int64Array,
    TextInput,
    TokenizedText,
    Units,
)


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


def group_tokens(tokenized: TokenizedText) -> Grouping:
    """Make every token a unit of its own, special tokens included."""
    positions = np.arange(len(tokenized.texts), dtype=np.int64)
    units = Units(
        texts=tokenized.texts,
        starts=tokenized.offsets[:, 0],
        ends=tokenized.offsets[:, 1],
        segments=tokenized.segments,
        is_special=tokenized.is_special,
    )
    return Grouping(units=units, tokens=positions, starts=positions)


def group_words(text: TextInput, tokenized: TokenizedText) -> Grouping:
    """Make every word a unit; special tokens belong to none.

    Args:
        text: What was tokenized; words are cut out of it as written.
        tokenized: Its tokens.
    """
    positions = np.flatnonzero(~tokenized.is_special)
    runs = _word_runs(tokenized)
    segments = [int(tokenized.segments[run[0]]) for run in runs]
    starts = [int(tokenized.offsets[run, 0].min()) for run in runs]
    ends = [int(tokenized.offsets[run, 1].max()) for run in runs]
    sources = (text.text, text.text_pair or "")
    units = Units(
        texts=tuple(
            sources[segment][start:end]
            for segment, start, end in zip(segments, starts, ends, strict=True)
        ),
        starts=np.array(starts, dtype=np.int64),
        ends=np.array(ends, dtype=np.int64),
        segments=np.array(segments, dtype=np.int64),
        is_special=np.zeros(len(runs), dtype=np.bool_),
    )
    lengths = np.array([0, *(len(run) for run in runs)][: len(runs)], dtype=np.int64)
    return Grouping(units=units, tokens=positions, starts=np.cumsum(lengths))


def first_tokens(tokenized: TokenizedText) -> Int64Array:
    """Return the position of the first token of each word, `[words]` int64."""
    return np.array([run[0] for run in _word_runs(tokenized)], dtype=np.int64)


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


def _word_runs(tokenized: TokenizedText) -> list[list[int]]:
    # Positions of the tokens of each word, in text order.
    positions = np.flatnonzero(~tokenized.is_special)
    return [
        list(run)
        for _, run in itertools.groupby(
            positions.tolist(),
            key=lambda i: (tokenized.segments[i], tokenized.word_index[i]),
        )
    ]
