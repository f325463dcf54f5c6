"""The Lagrangian of each state, and the ascent on its multiplier.

Both read the same figures: what the descent on the probe minimises is what the
multipliers have priced.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffmask_training.config import FitConfig
from diffmask_training.errors import NonFiniteError
from diffmask_training.lagrangian import Multipliers
from diffmask_training.masked_runs import TextFigures
from diffmask_training.objective import Constraint
from diffmask_training.pacing import Pacing


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """What one masked run showed.

    Attributes:
        state_index: Which state.
        kept_share: Expected share of open gates, in (0, 1).
        divergence: Mean over the batch, nats.
        violation_rate: Share of texts over the margin, in [0, 1].
        multiplier: Of that state, after its step.
    """

    state_index: int
    kept_share: float
    divergence: float
    violation_rate: float
    multiplier: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Duality:
    """Objective, constraint and what it costs to break it.

    Attributes:
        config: Settings; the margin is resolved.
        constraint: How far a masked prediction may stray.
        pacing: What each state is asked for.
        multipliers: One for each state.
        states: Their names.
    """

    config: FitConfig
    constraint: Constraint
    pacing: Pacing
    multipliers: Multipliers
    states: Sequence[str]

    def lagrangian(self, index: int, figures: TextFigures) -> Tensor:
        """Return what the probe minimises for some texts that are masked at a state.

        Args:
            index: The state.
            figures: Of the texts.
        """
        config = self.config
        violation = (
            self.constraint.bounded(figures.divergence) - self.pacing.aims[index]
        )
        loss = figures.sparsity.mean() + self.multipliers.values[index] * violation
        loss = loss + config.energy_weight * figures.energy.mean()
        if config.complement_weight:
            short = functional.relu(config.complement_margin - figures.complement)
            loss = loss + config.complement_weight * short.mean()
        return loss

    def dual_step(self, index: int, parts: Sequence[TextFigures]) -> StepFigures:
        """Move a state's multiplier by the violation of a step's texts.

        Args:
            index: The state.
            parts: Figures of its texts in each part of the step that holds any.

        Raises:
            NonFiniteError: The violation is not finite.
        """
        divergences = torch.cat([part.divergence.detach() for part in parts])
        kept_shares = torch.cat([part.kept_share.detach() for part in parts])
        shares = [len(part.divergence) / len(divergences) for part in parts]
        bounded = torch.stack(
            [
                share * self.constraint.bounded(part.divergence.detach())
                for share, part in zip(shares, parts, strict=True)
            ]
        ).sum()
        violation = float(bounded - self.pacing.aims[index])
        if not math.isfinite(violation):
            raise self.not_finite(index, "loss")
        self.multipliers.dual_step(index, violation)
        return StepFigures(
            state_index=index,
            kept_share=float(kept_shares.mean()),
            divergence=float(divergences.mean()),
            violation_rate=float((divergences > self.config.margin).float().mean()),
            multiplier=self.multipliers.values[index],
        )

    def not_finite(self, index: int, what: str) -> NonFiniteError:
        """Return the error for a state's loss or gradient that is not finite."""
        return NonFiniteError(
            f"the {what} of state {self.states[index]} is not finite; lower"
            " --learning-rate, or use --precision fp32 or --optimizer adamw. The last"
            " epoch's checkpoint is as it was"
        )
