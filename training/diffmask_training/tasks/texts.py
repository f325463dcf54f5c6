"""Tasks with one prediction for a whole text: a label, several labels, a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from diffmask_service.bundle import TaskName, ValueDefinition
from diffmask_training.batches import Encoding
from diffmask_training.errors import CheckpointError
from diffmask_training.metrics.classification import accuracy, macro_f1
from diffmask_training.tasks.task import (
    Quality,
    TaskOf,
    categorical_divergence,
    categorical_entropy,
    require,
)

# Changes of a value up to this share of its standard deviation count as none; at a
# divergence of 0.1 nats the change is 0.45 of it.
_TOLERATED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TextClassification(TaskOf[int]):
    """One label of several that exclude each other."""

    name: ClassVar[TaskName] = "text_classification"
    problem = "single_label_classification"

    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return the label."""
        del labels
        return {"labels": require(text.label, int)}

    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the divergence of two categorical distributions."""
        del inputs
        return categorical_divergence(logits, masked)

    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the entropy of the label."""
        del inputs
        return categorical_entropy(logits)

    def information(self, logits: Tensor) -> float:
        """Return the divergence of the labels' mean chances."""
        chances = torch.softmax(logits.double(), dim=-1)
        mean = chances.mean(dim=0).log().expand_as(chances)
        return float(categorical_divergence(logits.double(), mean).mean())

    def predict(self, logits: NDArray[np.floating], text: Encoding) -> int:
        """Return the index of the most probable label."""
        del text
        return int(logits.argmax())

    def agreement(self, before: int, after: int) -> float:
        """Return 1 where the label is the same."""
        return float(before == after)

    def quality(self, predictions: Sequence[int], texts: Sequence[Encoding]) -> Quality:
        """Return accuracy and macro F1."""
        predicted = np.array(predictions)
        labels = np.array([require(text.label, int) for text in texts])
        return Quality(
            accuracy=accuracy(predicted, labels), macro_f1=macro_f1(predicted, labels)
        )

    def num_groups(self, labels: Sequence[str]) -> int:
        """Return the number of labels."""
        return len(labels)

    def group(self, prediction: int) -> int:
        """Return the label."""
        return prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabelClassification(TaskOf[frozenset[int]]):
    """Every label that holds, of several that do not exclude each other."""

    name: ClassVar[TaskName] = "multi_label_classification"
    problem = "multi_label_classification"

    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return 1 for each label that holds, and 0 for the others."""
        held = require(text.label, frozenset)
        return {"labels": [float(index in held) for index in range(len(labels))]}

    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the sum over labels of the divergences of two coins."""
        del inputs
        chance = torch.sigmoid(logits)
        holds = functional.logsigmoid(logits) - functional.logsigmoid(masked)
        fails = functional.logsigmoid(-logits) - functional.logsigmoid(-masked)
        return (chance * holds + (1 - chance) * fails).sum(dim=-1)

    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the sum over labels of the entropies of a coin."""
        del inputs
        chance = torch.sigmoid(logits)
        holds, fails = functional.logsigmoid(logits), functional.logsigmoid(-logits)
        return -(chance * holds + (1 - chance) * fails).sum(dim=-1)

    def information(self, logits: Tensor) -> float:
        """Return the divergence of the labels' mean chances."""
        mean = torch.sigmoid(logits.double()).mean(dim=0).logit().expand_as(logits)
        return float(self.divergence(logits.double(), mean, {}).mean())

    def predict(self, logits: NDArray[np.floating], text: Encoding) -> frozenset[int]:
        """Return the indices of the labels that are at least as probable as not."""
        del text
        return frozenset(np.flatnonzero(logits >= 0).tolist())

    def agreement(self, before: frozenset[int], after: frozenset[int]) -> float:
        """Return 1 where the labels are the same."""
        return float(before == after)

    def quality(
        self, predictions: Sequence[frozenset[int]], texts: Sequence[Encoding]
    ) -> Quality:
        """Return the share of texts with all labels right, and macro F1 over labels.

        A label counts where it is predicted or true of some text.
        """
        labels = [require(text.label, frozenset) for text in texts]
        pairs = list(zip(predictions, labels, strict=True))
        scores = []
        for index in sorted(frozenset().union(*predictions, *labels)):
            right = sum(index in found and index in true for found, true in pairs)
            named = sum((index in found) + (index in true) for found, true in pairs)
            scores.append(2 * right / named)
        return Quality(
            accuracy=float(np.mean([found == true for found, true in pairs])),
            # Where no label is predicted or true anywhere, nothing is wrong.
            macro_f1=float(np.mean(scores)) if scores else 1.0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(TaskOf[float]):
    """A value.

    Attributes:
        scale: Standard deviation of the model's predictions on training texts, > 0.
    """

    name: ClassVar[TaskName] = "regression"
    problem = "regression"
    scale: float = 1.0

    def targets(self, text: Encoding, labels: Sequence[str]) -> dict[str, Any]:
        """Return the value."""
        del labels
        return {"labels": require(text.label, float)}

    def divergence(
        self, logits: Tensor, masked: Tensor, inputs: Mapping[str, Tensor]
    ) -> Tensor:
        """Return the divergence of two normal distributions about the values.

        Both have the model's own spread for standard deviation, so it is half the
        squared change in units of it: a margin means the same to every model, whatever
        its values measure.
        """
        del inputs
        return ((logits - masked).square() / (2 * self.scale**2)).sum(dim=-1)

    def entropy(self, logits: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the same for every text: a value does not say how sure it is.

        It is the divergence of a change that counts as none at its largest.
        """
        del inputs
        return logits.new_full((len(logits),), _TOLERATED_SHARE**2 / 2)

    def information(self, logits: Tensor) -> float:
        """Return the divergence of the mean value."""
        mean = logits.mean(dim=0).expand_as(logits)
        return float(self.divergence(logits, mean, {}).mean())

    def measured(self, logits: Tensor) -> Self:
        """Return the task with the spread of the model's predictions.

        Raises:
            CheckpointError: All predictions are the same.
        """
        scale = float(logits.double().std(correction=0))
        if not scale > 0:
            raise CheckpointError(
                f"the model predicts {float(logits.flatten()[0]):g} for each of"
                f" {len(logits)} training texts; there is nothing to explain"
            )
        return replace(self, scale=scale)

    @property
    def value(self) -> ValueDefinition:
        """The spread, and the change within which a value counts as kept."""
        return ValueDefinition(
            scale=self.scale, tolerance=_TOLERATED_SHARE * self.scale
        )

    def with_value(self, value: ValueDefinition | None) -> Self:
        """Return the task with a spread that was measured before.

        Raises:
            CheckpointError: There is none.
        """
        if value is None:
            raise CheckpointError(
                "the probe does not hold the spread of the model's predictions; it was"
                " fitted for another task, fit it again"
            )
        return replace(self, scale=value.scale)

    def predict(self, logits: NDArray[np.floating], text: Encoding) -> float:
        """Return the value."""
        del text
        return float(logits[0])

    def agreement(self, before: float, after: float) -> float:
        """Return 1 where the value changes by no more than the tolerance."""
        return float(abs(before - after) <= self.value.tolerance)

    def fidelity(
        self, before: Sequence[float], after: Sequence[float]
    ) -> dict[str, float]:
        """Return the mean absolute change."""
        change = np.abs(np.subtract(before, after))
        return {"mean_absolute_change": float(change.mean())}

    def quality(
        self, predictions: Sequence[float], texts: Sequence[Encoding]
    ) -> Quality:
        """Return the mean absolute error."""
        labels = [require(text.label, float) for text in texts]
        error = np.abs(np.subtract(predictions, labels))
        return Quality(scores={"mean_absolute_error": float(error.mean())})
