"""What every task says, and what holds for most of them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding as Tokens
from torch import Tensor
from transformers import PreTrainedConfig

from diffmask_service.bundle import TaskName, ValueDefinition
from diffmask_training.batches import Encoding
from diffmask_training.errors import MetricError
from diffmask_training.records import Record

PredictionT = TypeVar("PredictionT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good predictions are, against the labels of their texts.

    Attributes:
        accuracy: Share of right predictions, in [0, 1]; None where right and wrong do
            not say enough.
        macro_f1: Unweighted mean of F1 over labels, in [0, 1]; None where there are no
            labels.
        scores: The task's own figures, by name.
    """

    accuracy: float | None = None
    macro_f1: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOf(ABC, Generic[PredictionT]):
    """What a model predicts.

    Attributes:
        name: As the manifest has it.
        pairs: Whether a text may, must or must not have a second one.
        truncation: Which text of a pair is cut, as the tokenizer takes it.
        head: How the library's classes of models with its head end.
        problem: The library's name for what a sequence classifier's head is trained
            for; None for other heads.
    """

    name: ClassVar[TaskName]
    pairs: ClassVar[Literal["allowed", "needed", "refused"]] = "allowed"
    truncation: ClassVar[Literal["longest_first", "only_second"]] = "longest_first"
    head: ClassVar[str] = "ForSequenceClassification"
    problem: ClassVar[str | None] = None

    def labels(self, config: PreTrainedConfig) -> tuple[str, ...]:
        """Return label names in index order."""
        names: Any = config.id2label
        return tuple(names[index] for index in range(len(names)))

    def outputs(self, output: Any) -> Tensor:
        """Return what the model put out as one tensor, the logits.

        Returns:
            `[batch, labels]`, or `[batch, tokens, labels]` where each token has some.
        """
        logits: Tensor = output.logits
        return logits

    def split(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return logits as the outputs of a graph, in the order of their names."""
        return (logits,)

    def scored(self, tokens: Tokens, text: str) -> tuple[int, ...]:
        """Return the tokens that a prediction is read from, where these are some.

        Args:
            tokens: What the tokenizer made of the text.
            text: The text, or the second of two.
        """
        del tokens, text
        return ()

    def measured(self, logits: Tensor) -> Self:
        """Return the task with what has to be measured of the model's predictions.

        Args:
            logits: `[texts, labels]` of training texts.
        """
        del logits
        return self

    @property
    def value(self) -> ValueDefinition | None:
        """What was measured, for the manifest; None where nothing has to be."""
        return None

    def with_value(self, value: ValueDefinition | None) -> Self:
        """Return the task with what was measured before."""
        del value
        return self

    def with_labels(self, labels: Sequence[str]) -> Self:
        """Return the task with the names of its labels, if its figures need them.

        Args:
            labels: Label names in index order.
        """
        del labels
        return self

    def with_longest_answer(self, max_answer_tokens: int) -> Self:
        """Return the task with a limit on the length of its answers, if it has any.

        Args:
            max_answer_tokens: Longest answer, tokens, >= 1.
        """
        del max_answer_tokens
        return self

    def with_no_answer(self, threshold: float | None) -> Self:
        """Return the task with questions that may have no answer, if it has any.

        Args:
            threshold: What no answer must score over the best one, logits; None where
                every question has one.
        """
        del threshold
        return self

    @property
    def may_have_no_answer(self) -> bool:
        """Whether a question may have no answer."""
        return False

    def check(self, record: Record) -> None:
        """Refuse a record that the task as it is set has no use for.

        Raises:
            DataError: It is one.
        """
        del record

    @abstractmethod
    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return how far masked predictions lie from the original ones.

        Args:
            logits: Of the plain run, as `outputs` gives them.
            masked: Of the masked run.
            inputs: The batch's inputs, each `[batch, tokens]`: `attention_mask`, 1 for
                real tokens, and `scored`, 1 for those that `scored` names.

        Returns:
            `[batch]` float, nats, >= 0.
        """

    @abstractmethod
    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return what a model of the library is trained to say of one text.

        Args:
            text: The text, with a label.
            labels: Label names in index order.

        Returns:
            Arguments of the model, by name.

        Raises:
            MetricError: The label is another task's.
        """

    @abstractmethod
    def predict(self, logits: NDArray[np.floating], text: Encoding) -> PredictionT:
        """Return what logits say of one text.

        Args:
            logits: `[labels]` or `[tokens, labels]`; padding is passed over.
            text: The text.
        """

    def predict_all(
        self, logits: Tensor, texts: Sequence[Encoding]
    ) -> list[PredictionT]:
        """Return what a batch's logits say of its texts, one prediction each."""
        rows = zip(logits.numpy(force=True), texts, strict=True)
        return [self.predict(row, text) for row, text in rows]

    @abstractmethod
    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return how undecided predictions are, in the measure of `divergence`.

        Args:
            logits: As `outputs` gives them.
            inputs: The batch's inputs, as `divergence` takes them.

        Returns:
            `[batch]` float, nats, >= 0.
        """

    def information(self, logits: Tensor) -> float:
        """Return what is lost on the mean when nothing of a text is read.

        The mean divergence of the mean prediction from the predictions; infinite where
        predictions of several texts have no mean.

        Args:
            logits: `[texts, labels]`, or others.
        """
        del logits
        return math.inf

    @abstractmethod
    def agreement(self, before: PredictionT, after: PredictionT) -> float:
        """Return how much of one text's prediction stays the same, in [0, 1]."""

    def fidelity(
        self, before: Sequence[PredictionT], after: Sequence[PredictionT]
    ) -> dict[str, float]:
        """Return further figures of how well predictions are kept, by name."""
        del before, after
        return {}

    @abstractmethod
    def quality(
        self, predictions: Sequence[PredictionT], texts: Sequence[Encoding]
    ) -> Quality:
        """Return how good predictions are.

        Args:
            predictions: One for each text.
            texts: The texts, all with labels.

        Raises:
            MetricError: There are no texts, or a label is another task's.
        """

    def num_groups(self, labels: Sequence[str]) -> int:
        """Return how many groups `group` makes, given the names of the labels."""
        del labels
        return 1

    def group(self, prediction: PredictionT) -> int:
        """Return which group of texts one belongs to by its prediction.

        Texts with the same label are one; where a text has no single label, all are.
        """
        del prediction
        return 0


def categorical_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of softmax(logits) over the last axis, nats.

    Args:
        logits: `[..., labels]` float.
    """
    log_chances = torch.log_softmax(logits, dim=-1)
    return -(log_chances.exp() * log_chances).sum(dim=-1)


def require(label: object, kind: type[Any]) -> Any:
    """Return a label that is of the kind that a task has.

    Raises:
        MetricError: It is not.
    """
    if not isinstance(label, kind) or isinstance(label, bool):
        raise MetricError(f"{label!r} is no label of this task; read its data for it")
    return label


def categorical_divergence(logits: Tensor, masked: Tensor) -> Tensor:
    """Return KL(softmax(logits) ‖ softmax(masked)) over the last axis, nats.

    Args:
        logits: `[..., labels]` float. Of the plain run.
        masked: `[..., labels]` float. Of the masked run.
    """
    log_masked = torch.log_softmax(masked, dim=-1)
    log_plain = torch.log_softmax(logits, dim=-1)
    return torch.nn.functional.kl_div(
        log_masked, log_plain, reduction="none", log_target=True
    ).sum(dim=-1)
