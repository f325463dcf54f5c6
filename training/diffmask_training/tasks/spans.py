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

from diffmask_service.bundle import NO_ANSWER_TOKEN, TaskName, find_answer
from diffmask_training.batches import Encoding
from diffmask_training.errors import DataError
from diffmask_training.records import Record
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

    A prediction is None where the context holds no answer, or was cut so short that
    nothing of it is left.

    Attributes:
        max_answer_tokens: Longest answer, tokens, >= 1.
        no_answer_threshold: What no answer must score over the best one, logits; None
            where every question has one.
    """

    name: ClassVar[TaskName] = "question_answering"
    pairs = "needed"
    truncation = "only_second"
    head = "ForQuestionAnswering"
    max_answer_tokens: int = 30
    no_answer_threshold: float | None = None

    def labels(self, config: PreTrainedConfig) -> tuple[str, ...]:
        """Return none: an answer is not chosen from a list."""
        del config
        return ()

    def with_longest_answer(self, max_answer_tokens: int) -> Self:
        """Return the task with another limit."""
        return replace(self, max_answer_tokens=max_answer_tokens)

    def with_no_answer(self, threshold: float | None) -> Self:
        """Return the task with another threshold."""
        return replace(self, no_answer_threshold=threshold)

    @property
    def may_have_no_answer(self) -> bool:
        """Whether there is a threshold for that."""
        return self.no_answer_threshold is not None

    def check(self, record: Record) -> None:
        """Refuse a question without an answer where every question should have one."""
        if record.label == () and not self.may_have_no_answer:
            raise DataError(
                f"the question {record.text!r} has no answer; give a"
                " --no-answer-threshold, for example 0, if the model was fine-tuned on"
                " such questions, or leave them out"
            )

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

    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return first and last token of the first right answer.

        The first token of all where there is none, or a part of it is cut off.
        """
        del labels
        first = last = NO_ANSWER_TOKEN
        for answer in require(text.label, tuple)[:1]:
            end = answer.start + len(answer.text)
            held = [
                position
                for position in text.scored
                if text.offsets[position][1] > answer.start
                and text.offsets[position][0] < end
            ]
            if held and text.offsets[held[-1]][1] >= end:
                first, last = held[0], held[-1]
        return {"start_positions": first, "end_positions": last}

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
        """Return the best span of the context, or None for no answer."""
        if not text.scored:
            return None
        span = find_answer(
            logits,
            np.array(text.scored),
            max_answer_tokens=self.max_answer_tokens,
            no_answer_threshold=self.no_answer_threshold,
        )
        if span is None:
            return None
        first, last = span
        answer = text.source[text.offsets[first][0] : text.offsets[last][1]]
        return Span(first=first, last=last, text=answer.strip())

    def agreement(self, before: Span | None, after: Span | None) -> float:
        """Return 1 where the span is the same, or there is none in both."""
        return float(before == after)

    def fidelity(
        self, before: Sequence[Span | None], after: Sequence[Span | None]
    ) -> dict[str, float]:
        """Return the mean F1 of the tokens of one span against those of the other.

        Where questions may have no answer, also the share of texts of which it is still
        said, or not said, that there is one.
        """
        pairs = list(zip(before, after, strict=True))
        figures = {"span_f1": float(np.mean([_overlap(*pair) for pair in pairs]))}
        if self.may_have_no_answer:
            same = [(left is None) == (right is None) for left, right in pairs]
            figures["has_answer_agreement"] = float(np.mean(same))
        return figures

    def quality(
        self, predictions: Sequence[Span | None], texts: Sequence[Encoding]
    ) -> Quality:
        """Return exact match as accuracy, and F1, as the evaluation of SQuAD has them.

        Where some question has no answer, both also of those questions alone that have
        one, and the share of the others of which that is said.

        Source:
            Rajpurkar et al. 2016, section 6.1: the best over the right answers, case,
            punctuation, articles and white space set aside. Rajpurkar et al. 2018: no
            answer is right, exactly and in full, where there is none, and wrong
            elsewhere.
        """
        exact, overlap = [], []
        for found, text in zip(predictions, texts, strict=True):
            said = _normalised("" if found is None else found.text)
            answers = [_normalised(a.text) for a in require(text.label, tuple)] or [""]
            exact.append(max(said == answer for answer in answers))
            overlap.append(max(_f1(said.split(), a.split()) for a in answers))
        scores = {"f1": float(np.mean(overlap))}
        has_answer = np.array([bool(text.label) for text in texts])
        if not has_answer.all():
            scores["no_answer_accuracy"] = float(np.mean(np.array(exact)[~has_answer]))
            if has_answer.any():
                answered = np.array([exact, overlap])[:, has_answer].mean(axis=1)
                scores["has_answer_accuracy"] = float(answered[0])
                scores["has_answer_f1"] = float(answered[1])
        return Quality(accuracy=float(np.mean(exact)), scores=scores)


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
