"""Extractive question answering: a span of the context, the second text."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding as Tokens
from torch import Tensor
from transformers import PreTrainedConfig

from diffmask_service.bundle import TaskName, best_span
from diffmask_training.batches import Encoding
from diffmask_training.tasks.task import (
    Quality,
    TaskOf,
    categorical_divergence,
    categorical_entropy,
    require,
)

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An answer.

    Attributes:
        first: Its first token.
        last: Its last token.
        text: The answer, as it stands in the context.
    """

    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswering(TaskOf[Span | None]):
    """An answer that is cut out of the context; its logits are a start's and an end's.

    A prediction is None where a text was cut so short that nothing of the context is
    left.

    Attributes:
        max_answer_tokens: Longest answer, tokens, >= 1.
    """

    name: ClassVar[TaskName] = "question_answering"
    pairs = "needed"
    truncation = "only_second"
    max_answer_tokens: int = 30

    def labels(self, config: PreTrainedConfig) -> tuple[str, ...]:
        """Return none: an answer is not chosen from a list."""
        del config
        return ()

    def with_longest_answer(self, max_answer_tokens: int) -> Self:
        """Return the task with another limit."""
        return replace(self, max_answer_tokens=max_answer_tokens)

    def outputs(self, output: Any) -> Tensor:
        """Return the logits of start and end, `[batch, tokens, 2]`."""
        return torch.stack([output.start_logits, output.end_logits], dim=-1)

    def split(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the start and those of the end."""
        return logits[..., 0], logits[..., 1]

    def scored(self, tokens: Tokens, text: str) -> tuple[int, ...]:
        """Return the tokens of the context."""
        del text
        pairs = zip(tokens.sequence_ids, tokens.special_tokens_mask, strict=True)
        return tuple(
            i for i, (part, flag) in enumerate(pairs) if part == 1 and not flag
        )

    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the sum of the divergences of start and end.

        Both are distributions over all real tokens, as in De Cao et al. 2020: a masked
        model that looks for the answer in the question is one that has changed.
        """
        sides = (_positions(each, inputs) for each in (logits, masked))
        return categorical_divergence(*sides).sum(dim=-1)

    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the entropies of start and end."""
        return categorical_entropy(_positions(logits, inputs)).sum(dim=-1)

    def predict(self, logits: NDArray[np.floating], text: Encoding) -> Span | None:
        """Return the best span of the context."""
        if not text.scored:
            return None
        first, last = best_span(
            logits, np.array(text.scored), max_answer_tokens=self.max_answer_tokens
        )
        answer = text.source[text.offsets[first][0] : text.offsets[last][1]]
        return Span(first=first, last=last, text=answer.strip())

    def agreement(self, before: Span | None, after: Span | None) -> float:
        """Return 1 where the span is the same."""
        return float(before == after)

    def fidelity(
        self, before: Sequence[Span | None], after: Sequence[Span | None]
    ) -> dict[str, float]:
        """Return the mean F1 of the tokens of one span against those of the other."""
        pairs = zip(before, after, strict=True)
        return {"span_f1": float(np.mean([_overlap(*pair) for pair in pairs]))}

    def quality(
        self, predictions: Sequence[Span | None], texts: Sequence[Encoding]
    ) -> Quality:
        """Return exact match as accuracy, and F1, as the evaluation of SQuAD has them.

        Source:
            Rajpurkar et al. 2016, section 6.1: the best over the right answers, case,
            punctuation, articles and white space set aside.
        """
        exact, overlap = [], []
        for found, text in zip(predictions, texts, strict=True):
            said = _normalised("" if found is None else found.text)
            answers = [_normalised(a.text) for a in require(text.label, tuple)]
            exact.append(max(said == answer for answer in answers))
            overlap.append(max(_f1(said.split(), a.split()) for a in answers))
        return Quality(
            accuracy=float(np.mean(exact)), scores={"f1": float(np.mean(overlap))}
        )


def _positions(logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    # `[batch, 2, tokens]`, next to nothing on padding.
    padding = (inputs["attention_mask"] == 0).unsqueeze(-1)
    return logits.masked_fill(padding, torch.finfo(logits.dtype).min).mT


def _overlap(before: Span | None, after: Span | None) -> float:
    if before is None or after is None:
        return float(before is after)
    shared = min(before.last, after.last) - max(before.first, after.first) + 1
    num_tokens = before.last - before.first + after.last - after.first + 2
    return 2 * max(shared, 0) / num_tokens


def _f1(found: list[str], true: list[str]) -> float:
    shared = (Counter(found) & Counter(true)).total()
    if not found or not true:
        return float(found == true)
    return 2 * shared / (len(found) + len(true))


def _normalised(answer: str) -> str:
    plain = answer.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", plain).split())
