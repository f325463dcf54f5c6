"""What a mask of one text must do, the same for exact search and for learned masks."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffmask_training.experiments.subsets.classifier import GruClassifier
from diffmask_training.experiments.subsets.texts import Texts
from diffmask_training.tasks.task import categorical_divergence

Requirement = Literal["prediction", "divergence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Some texts, and what their masked predictions must be.

    Attributes:
        model: The frozen classifier.
        texts: The texts.
        words: `[batch, tokens, hidden]` float32. Their word vectors.
        logits: `[batch, labels]` float32. Of the plain runs.
        requirement: `prediction` asks for the same label, `divergence` for a divergence
            within the margin.
        margin: Allowed divergence, nats; not used for the same label.
    """

    model: GruClassifier
    texts: Texts
    words: Tensor
    logits: Tensor
    requirement: Requirement
    margin: float

    def __getitem__(self, rows: Tensor) -> "Problem":
        """Return the problem of some of the texts, or of some of them several times."""
        texts = self.texts[rows]
        return Problem(
            model=self.model,
            texts=texts,
            words=self.words[rows, : texts.ids.shape[1]],
            logits=self.logits[rows],
            requirement=self.requirement,
            margin=self.margin,
        )

    def violation(self, masked_logits: Tensor) -> Tensor:
        """Return how far each masked prediction is from what it must be.

        Args:
            masked_logits: `[..., labels]` float32. Broadcast against the texts.

        Returns:
            `[...]` float32, nats; what is asked for holds where it is not positive. For
            the same label this is how much likelier another label is.
        """
        if self.requirement == "divergence":
            return categorical_divergence(self.logits, masked_logits) - self.margin
        predicted = self.logits.argmax(dim=-1, keepdim=True)
        predicted = predicted.expand(*masked_logits.shape[:-1], 1)
        others = masked_logits.scatter(-1, predicted, -torch.inf).amax(dim=-1)
        same: Tensor = masked_logits.gather(-1, predicted).squeeze(-1)
        return others - same

    def masked_logits(self, gates: Tensor) -> Tensor:
        """Return `[batch, labels]` logits under gates, `[batch, tokens]` in [0, 1]."""
        return self.model.run(self.words * gates.unsqueeze(-1), self.texts)


@torch.no_grad()
def make_problem(
    model: GruClassifier, texts: Texts, *, requirement: Requirement, margin: float
) -> Problem:
    """Return the problem of some texts.

    Args:
        model: The frozen classifier.
        texts: The texts.
        requirement: What the masked predictions must be.
        margin: Allowed divergence, nats.
    """
    return Problem(
        model=model,
        texts=texts,
        words=model.embedding(texts.ids),
        logits=model(texts),
        requirement=requirement,
        margin=margin,
    )
