"""The Hard Concrete distribution of one vote; nothing here knows of models.

A binary Concrete variable is stretched to (lower, upper) and clipped to [0, 1], which
puts point mass at exactly 0. With `upper` at 1 there is none at exactly 1.

Source: Louizos et al. 2018, section 3; limits and temperature of De Cao et al. 2020.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class HardConcreteShape:
    """Temperature and stretch limits.

    Attributes:
        temperature: Of the binary Concrete, > 0.
        lower: Lower end of the stretch, < 0.
        upper: Upper end of the stretch, >= 1.
    """

    temperature: float = 0.2
    lower: float = -0.2
    upper: float = 1.0

    @property
    def zero_crossing(self) -> float:
        """Gate logit at which a vote is zero with chance one half."""
        return self.temperature * math.log(-self.lower / self.upper)


def sample(
    gate_logits: Tensor, shape: HardConcreteShape, generator: torch.Generator
) -> Tensor:
    """Draw one vote for each gate logit, differentiable in the logit.

    Args:
        gate_logits: `[...]` float32. Probe outputs, unbounded.
        shape: Temperature and stretch limits.
        generator: Source of randomness.

    Returns:
        `[...]` float32 in [0, upper].
    """
    uniform = draw_uniform(gate_logits.shape, generator)
    return vote(gate_logits, uniform, shape)


def draw_uniform(size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw from (0, 1), off its ends."""
    # float32 can draw exactly 0, whose logit is infinite.
    return torch.rand(tuple(size), generator=generator, device=generator.device).clamp(
        1e-6, 1 - 1e-6
    )


def vote(gate_logits: Tensor, uniform: Tensor, shape: HardConcreteShape) -> Tensor:
    """Return the votes that some uniform draws lead to, differentiable in the logit.

    Args:
        gate_logits: `[...]` float32. Probe outputs, unbounded.
        uniform: `[...]` float32 in (0, 1), one draw for each.
        shape: Temperature and stretch limits.

    Returns:
        `[...]` float32 in [0, upper].
    """
    concrete = torch.sigmoid((torch.logit(uniform) + gate_logits) / shape.temperature)
    return (concrete * (shape.upper - shape.lower) + shape.lower).clamp(0.0, 1.0)


def log_keep_probability(gate_logits: Tensor, shape: HardConcreteShape) -> Tensor:
    """Return the logarithm of the probability that each vote is not zero.

    Args:
        gate_logits: `[...]` float32. Probe outputs, unbounded.
        shape: Temperature and stretch limits.

    Returns:
        `[...]` float32, < 0.

    Source:
        Louizos et al. 2018, equation 12: the L0 penalty of a Hard Concrete variable.
    """
    # Clipping maps everything below the crossing to zero, so "not zero" is the chance
    # that the unstretched variable exceeds the point that is mapped to zero.
    return functional.logsigmoid(gate_logits - shape.zero_crossing)
