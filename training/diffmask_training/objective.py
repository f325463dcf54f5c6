"""The constrained objective of one state: few gates, same prediction.

Minimise the expected share of open gates subject to a divergence within the margin; the
Lagrangian of that is what the probe descends and the multiplier ascends.

Source: De Cao et al. 2020, section 2.3. The linear sparsity term is the paper's
expected count; their code minimises its logarithm, which never saturates for tokens
already dropped and grows with depth.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from diffmask_training.figures import StateFigures

ConstraintKind = Literal["mean", "hinge", "quantile"]
SparsityKind = Literal["linear", "logarithmic"]
# Training never aims lower than this share of a limit, where all is noise.
LOWEST_AIM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """How far a masked prediction may stray.

    Attributes:
        kind: `mean` bounds the mean divergence of a batch by the margin; `hinge` bounds
            the mean excess of single texts over the margin by `slack`, so that easy
            texts cannot pay for hard ones; `quantile` bounds by the margin what all but
            a few of the texts diverge by.
        margin: Allowed divergence, nats, > 0.
        slack: Allowed mean excess under `hinge`, nats, >= 0.
        quantile: Share of the texts that `quantile` holds to the margin, in (0, 1).
    """

    kind: ConstraintKind
    margin: float
    slack: float
    quantile: float = 0.9

    @property
    def limit(self) -> float:
        """What the bounded quantity may be at most, nats."""
        return self.slack if self.kind == "hinge" else self.margin

    @property
    def asked_quantile(self) -> float | None:
        """The quantile that validation must report, None where none is bounded."""
        return self.quantile if self.kind == "quantile" else None

    def bounded(self, divergences: Tensor) -> Tensor:
        """Return the quantity that the constraint bounds, nats.

        The quantile is the linear interpolation of two neighbouring order statistics,
        at `quantile * (batch - 1)` counted from 0 (type 7 of Hyndman and Fan 1996), and
        its gradient reaches those two texts alone. For few texts it lies low: of
        uniform values it estimates the quantile `(quantile * (batch - 1) + 1) / (batch
        + 1)`, 0.85 in place of 0.9 for 16 texts, and of a single text it is that text's
        divergence. A state should be dealt 10 texts a step at least.

        Args:
            divergences: `[batch]` float32. Divergence of each text, nats.
        """
        if self.kind == "mean":
            return divergences.mean()
        if self.kind == "quantile":
            return torch.quantile(divergences, self.quantile)
        return functional.relu(divergences - self.margin).mean()

    def found(self, state: StateFigures) -> float:
        """Return what was found of the bounded quantity on validation texts, nats.

        Args:
            state: Of a validation that was asked for `asked_quantile`.
        """
        if self.kind == "mean":
            return state.divergence
        if self.kind == "hinge":
            return state.excess
        if state.divergence_quantile is None:
            raise ValueError("the validation was not asked for a quantile")
        return state.divergence_quantile


def text_means(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean of each text over its tokens, padding left out.

    Args:
        values: `[batch, tokens]` float32.
        attention_mask: `[batch, tokens]` 1 for real tokens.

    Returns:
        `[batch]` float32.
    """
    mask = attention_mask.to(values.dtype)
    return (values * mask).sum(dim=-1) / mask.sum(dim=-1)


def mean_over_tokens(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean over texts of the mean over their tokens, padding left out.

    Of keep probabilities, this is the expected share of open gates: the expected L0.

    Args:
        values: `[batch, tokens]` float32.
        attention_mask: `[batch, tokens]` 1 for real tokens.
    """
    return text_means(values, attention_mask).mean()
