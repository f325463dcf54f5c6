"""Logits to predictions, and how far one prediction lies from another, by task.

What a task means for a served model is one decoder, chosen once when the model is
loaded. Probabilities and divergences are computed in float64, so that neither large
logits nor confident models lose the small probabilities that a divergence lives on.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.alignment import group_words
from diffmask_service.core.predictions import (
    Float32Array,
    LabelPrediction,
    LabelSetPrediction,
    Prediction,
    SpanPrediction,
    TagsPrediction,
    ValuePrediction,
)
from diffmask_service.core.spans import NO_ANSWER_TOKEN, find_answer
from diffmask_service.core.values import TextInput, TokenizedText

_Float64Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the model made of one text.

    Attributes:
        logits: Of the shape that `Outputs` names for the task, without `batch`; finite.
        text: The text.
        tokenized: Its tokens.
    """

    logits: Float32Array
    text: TextInput
    tokenized: TokenizedText


class Decoder(Protocol):
    """What logits mean."""

    def decode(self, reading: Reading) -> Prediction:
        """Return the prediction."""

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return the Kullback-Leibler divergence KL(full || masked), nats, >= 0.

        Args:
            full: Of the whole text.
            masked: Of its kept tokens.

        Source:
            De Cao et al. 2020, equation 2: the divergence of the two outputs, with the
            original one standing first.
        """

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether both mean the same prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDecoder:
    """One label of several that exclude each other.

    Attributes:
        labels: Label names in index order.
    """

    labels: tuple[str, ...]

    def decode(self, reading: Reading) -> LabelPrediction:
        """Return the most probable label."""
        logits = reading.logits
        index = int(np.argmax(logits))
        return LabelPrediction(
            label=self.labels[index],
            label_index=index,
            probabilities=np.exp(_log_softmax(logits)).astype(np.float32),
            logits=logits,
        )

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return the divergence of two categorical distributions, nats."""
        return float(_categorical(full.logits, masked.logits))

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether the most probable label is the same."""
        return bool(np.argmax(full.logits) == np.argmax(masked.logits))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSetDecoder:
    """Every label that holds.

    Attributes:
        labels: Label names in index order.
    """

    labels: tuple[str, ...]

    def decode(self, reading: Reading) -> LabelSetPrediction:
        """Return the labels that are at least as probable as not."""
        logits = reading.logits
        indices = tuple(np.flatnonzero(logits >= 0).tolist())
        return LabelSetPrediction(
            labels=tuple(self.labels[index] for index in indices),
            label_indices=indices,
            probabilities=np.exp(_log_sigmoid(logits)).astype(np.float32),
            logits=logits,
        )

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return the sum over labels of the divergences of two coins, nats."""
        sides = (
            np.exp(_log_sigmoid(sign * full.logits))
            * (_log_sigmoid(sign * full.logits) - _log_sigmoid(sign * masked.logits))
            for sign in (1, -1)
        )
        return max(0.0, float(sum(np.sum(side) for side in sides)))

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether the same labels hold."""
        return bool(np.array_equal(full.logits >= 0, masked.logits >= 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDecoder:
    """A number.

    Attributes:
        scale: Standard deviation of the model's predictions on its training texts, > 0.
        tolerance: Largest change under which a value counts as the same, >= 0.
    """

    scale: float
    tolerance: float

    def decode(self, reading: Reading) -> ValuePrediction:
        """Return the value."""
        return ValuePrediction(value=float(reading.logits[0]))

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return that of two normal distributions about the values, nats.

        Both have the scale for standard deviation, so it is half the squared change in
        units of the scale.
        """
        return _change(full, masked) ** 2 / (2 * self.scale**2)

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether the value changes by no more than the tolerance."""
        return _change(full, masked) <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class TagsDecoder:
    """A label for each word, read off its first token.

    Attributes:
        labels: Label names in index order.
    """

    labels: tuple[str, ...]

    def decode(self, reading: Reading) -> TagsPrediction:
        """Return the most probable label of each word."""
        of_words = _of_words(reading)
        indices = of_words.argmax(axis=-1)
        return TagsPrediction(
            words=group_words(reading.text, reading.tokenized).units,
            labels=tuple(self.labels[index] for index in indices),
            label_indices=indices.astype(np.int64),
            probabilities=np.exp(_log_softmax(of_words)).astype(np.float32),
        )

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return the mean over words of the categorical divergence, nats."""
        distances = _categorical(_of_words(full), _of_words(masked))
        # A text may hold nothing but blanks, which are no words.
        return float(distances.mean()) if len(distances) else 0.0

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether every word keeps its label."""
        labels, masked_labels = (_of_words(r).argmax(axis=-1) for r in (full, masked))
        return bool((labels == masked_labels).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanDecoder:
    """An answer that is cut out of the context, the second text.

    Attributes:
        max_answer_tokens: Longest answer, tokens, >= 1.
        no_answer_threshold: What no answer must score over the best one, logits; None
            where every question has one.
    """

    max_answer_tokens: int
    no_answer_threshold: float | None = None

    def decode(self, reading: Reading) -> SpanPrediction:
        """Return the best span, or that there is no answer."""
        log_start, log_end = (_log_softmax(side) for side in reading.logits.T)
        span = self._span(reading)
        if span is None:
            none = np.exp(log_start[NO_ANSWER_TOKEN] + log_end[NO_ANSWER_TOKEN])
            return SpanPrediction(
                text="", start=0, end=0, probability=float(none), no_answer=True
            )
        first, last = span
        offsets, context = reading.tokenized.offsets, reading.text.text_pair or ""
        covered = context[: int(offsets[last, 1])]
        # Some vocabularies count the blank before a word to its first token.
        answer = covered[int(offsets[first, 0]) :].strip()
        end = len(covered.rstrip())
        return SpanPrediction(
            text=answer,
            start=end - len(answer),
            end=end,
            probability=float(np.exp(log_start[first] + log_end[last])),
        )

    def divergence(self, full: Reading, masked: Reading) -> float:
        """Return the sum of the divergences of start and end, over all tokens, nats."""
        return float(_categorical(full.logits.T, masked.logits.T).sum())

    def agrees(self, full: Reading, masked: Reading) -> bool:
        """Return whether the span is the same, or both have no answer."""
        return self._span(full) == self._span(masked)

    def _span(self, reading: Reading) -> tuple[int, int] | None:
        tokenized = reading.tokenized
        context = np.flatnonzero((tokenized.segments == 1) & ~tokenized.is_special)
        return find_answer(
            reading.logits,
            context,
            max_answer_tokens=self.max_answer_tokens,
            no_answer_threshold=self.no_answer_threshold,
        )


def _change(full: Reading, masked: Reading) -> float:
    return abs(float(full.logits[0]) - float(masked.logits[0]))


def _of_words(reading: Reading) -> Float32Array:
    # `[words, labels]`, each from the first token of its word.
    words = group_words(reading.text, reading.tokenized)
    return reading.logits[words.tokens[words.starts]]


def _categorical(full: Float32Array, masked: Float32Array) -> _Float64Array:
    # `[..., labels]` to `[...]`. The sum cannot be negative, but its rounded value can,
    # by some 1e-17.
    log_full, log_masked = _log_softmax(full), _log_softmax(masked)
    distance = np.sum(np.exp(log_full) * (log_full - log_masked), axis=-1)
    return np.asarray(np.maximum(0.0, distance), dtype=np.float64)


def _log_softmax(logits: Float32Array) -> _Float64Array:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    total = np.sum(np.exp(shifted), axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(total), dtype=np.float64)


def _log_sigmoid(logits: Float32Array) -> _Float64Array:
    return np.asarray(-np.logaddexp(0.0, -logits.astype(np.float64)), dtype=np.float64)
