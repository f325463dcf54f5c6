"""Token classification: a label for each word, read off its first token."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding as Tokens
from torch import Tensor

from diffmask_service.bundle import TaskName
from diffmask_training.batches import Encoding
from diffmask_training.metrics.classification import accuracy, macro_f1
from diffmask_training.metrics.entities import entity_f1, has_entities
from diffmask_training.tasks.task import (
    Quality,
    TaskOf,
    categorical_divergence,
    categorical_entropy,
    require,
)

# What the library leaves out of the loss.
_UNTRAINED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClassification(TaskOf[tuple[int, ...]]):
    """A label for each word, as the model's tokenizer parts them.

    A prediction holds the label of every word, in order. Where labels are BIO tags,
    figures are also given of entities.

    Attributes:
        label_names: In index order; none where they are not known.
    """

    name: ClassVar[TaskName] = "token_classification"
    pairs = "refused"
    head = "ForTokenClassification"
    label_names: tuple[str, ...] = ()

    def with_labels(self, labels: Sequence[str]) -> Self:
        """Return the task with the names of its labels."""
        return replace(self, label_names=tuple(labels))

    def scored(self, tokens: Tokens, text: str) -> tuple[int, ...]:
        """Return the first token of each word; white space and specials have none."""
        ordinary = [i for i, flag in enumerate(tokens.special_tokens_mask) if not flag]
        words = itertools.groupby(ordinary, key=lambda i: tokens.word_ids[i])
        runs = (list(run) for _, run in words)
        return tuple(
            run[0]
            for run in runs
            if text[tokens.offsets[run[0]][0] : tokens.offsets[run[-1]][1]].strip()
        )

    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return the label of each labelled word at its first token."""
        del labels
        targets = [_UNTRAINED] * len(text.input_ids)
        for position, index in _labels(text):
            targets[position] = index
        return {"labels": targets}

    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the mean over words of the divergence of their labels."""
        scored = inputs["scored"].to(logits.dtype)
        distance = categorical_divergence(logits, masked)  # [batch, tokens]
        # A text of no word, cut to its special tokens, says nothing and keeps to it.
        return (distance * scored).sum(dim=-1) / scored.sum(dim=-1).clamp(min=1)

    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over words of the entropy of their labels."""
        scored = inputs["scored"].to(logits.dtype)
        found = (categorical_entropy(logits) * scored).sum(dim=-1)
        return found / scored.sum(dim=-1).clamp(min=1)

    def predict(self, logits: NDArray[np.floating], text: Encoding) -> tuple[int, ...]:
        """Return the most probable label of each word."""
        return tuple(logits[list(text.scored)].argmax(axis=-1).tolist())

    def agreement(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Return the share of words with the same label."""
        return float(np.mean(np.equal(before, after))) if before else 1.0

    def fidelity(
        self, before: Sequence[tuple[int, ...]], after: Sequence[tuple[int, ...]]
    ) -> dict[str, float]:
        """Return the share of texts in which every word keeps its label.

        Of entities also F1, those found before being the truth.
        """
        same = [left == right for left, right in zip(before, after, strict=True)]
        figures = {"whole_text_agreement": float(np.mean(same))}
        if has_entities(self.label_names):
            sides = (self._tags(before), self._tags(after))
            figures["entity_agreement"] = entity_f1(*sides)
        return figures

    def quality(
        self, predictions: Sequence[tuple[int, ...]], texts: Sequence[Encoding]
    ) -> Quality:
        """Return accuracy and macro F1 over all words that have a label.

        Of entities also F1. A tokenizer may part a labelled word further; its first
        part is what counts.
        """
        by_text = [
            list(_labelled(predicted, text))
            for predicted, text in zip(predictions, texts, strict=True)
        ]
        pairs = [pair for of_text in by_text for pair in of_text]
        predicted, labels = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        scores = {}
        if has_entities(self.label_names):
            found = self._tags([[pair[0] for pair in of_text] for of_text in by_text])
            true = self._tags([[pair[1] for pair in of_text] for of_text in by_text])
            scores["entity_f1"] = entity_f1(found, true)
        return Quality(
            accuracy=accuracy(predicted, labels),
            macro_f1=macro_f1(predicted, labels),
            scores=scores,
        )

    def _tags(self, indices: Sequence[Sequence[int]]) -> list[list[str]]:
        return [[self.label_names[index] for index in text] for text in indices]


def _labelled(predicted: tuple[int, ...], text: Encoding) -> Iterator[tuple[int, int]]:
    # The prediction and the label of every word at whose start a label stands.
    index_by_position = dict(_labels(text))
    for position, found in zip(text.scored, predicted, strict=True):
        if position in index_by_position:
            yield found, index_by_position[position]


def _labels(text: Encoding) -> Iterator[tuple[int, int]]:
    # The first token and the label of every word at whose start a label stands.
    index_by_start = {tag.start: tag.index for tag in require(text.label, tuple)}
    for position in text.scored:
        start, _ = text.offsets[position]
        # Some vocabularies count the blank before a word to its first token.
        start += text.source[start : start + 1].isspace()
        if start in index_by_start:
            yield position, index_by_start[start]
