"""The constrained objective of one state: few gates, same prediction.

Minimise the expected share of open gates subject to a divergence within the margin; the
Lagrangian of that is what the probe descends and the multiplier ascends.

Source: De Cao et al. 2020, section 2.3. The sparsity term is the paper's expected
count; their code minimises its logarithm, which never saturates for tokens already
dropped and grows with depth.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional

ConstraintKind = Literal["mean", "hinge"]
# Training never aims lower than this share of a limit, where all is noise.
LOWEST_AIM = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """How far a masked prediction may stray.

    Attributes:
        kind: `mean` bounds the mean divergence of a batch by the margin; `hinge` bounds
            the mean excess of single texts over the margin by `slack`, so that easy
            texts cannot pay for hard ones.
        margin: Allowed divergence, nats, > 0.
        slack: Allowed mean excess under `hinge`, nats, >= 0.
    """

    kind: ConstraintKind
    margin: float
    slack: float

    @property
    def limit(self) -> float:
        """What the bounded quantity may be at most, nats."""
        return self.margin if self.kind == "mean" else self.slack

    def bounded(self, divergences: Tensor) -> Tensor:
        """Return the quantity that the constraint bounds, nats.

        Args:
            divergences: `[batch]` float32. Divergence of each text, nats.
        """
        if self.kind == "mean":
            return divergences.mean()
        return functional.relu(divergences - self.margin).mean()


def mean_over_tokens(values: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the mean over texts of the mean over their tokens, padding left out.

    Of keep probabilities, this is the expected share of open gates: the expected L0.

    Args:
        values: `[batch, tokens]` float32.
        attention_mask: `[batch, tokens]` 1 for real tokens.
    """
    mask = attention_mask.to(values.dtype)
    return ((values * mask).sum(dim=-1) / mask.sum(dim=-1)).mean()
