"""Gate logits of one text as free parameters under the probe's own objective."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffmask_training.hard_concrete import (
    HardConcreteShape,
    log_keep_probability,
    sample,
)
from diffmask_training.lagrangian import Multipliers, NuPI
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.refinement.baselines import BaselineChoice
from diffmask_training.refinement.gated_text import GatedText


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinementSettings:
    """How gates are found.

    Attributes:
        margin: Allowed divergence, nats, > 0.
        baseline: What takes a masked token's place.
        steps: Of the optimiser.
        samples: Sampled masks a step, beside the hard one.
        learning_rate: Of the gate logits.
        baseline_learning_rate: Of a baseline of the text's own.
        initial_logit: Of every gate.
        controller: Of the multipliers.
        is_tightened: Whether the masks found are tightened by trial, which also makes
            them keep to the margin.
        seed: Of the samples.
    """

    margin: float = 0.1
    baseline: BaselineChoice = "probe"
    steps: int = 150
    samples: int = 4
    learning_rate: float = 0.1
    baseline_learning_rate: float = 0.02
    initial_logit: float = 2.0
    controller: NuPI = field(default_factory=NuPI)
    is_tightened: bool = True
    seed: int = 0


def optimise(
    text: GatedText, baselines: Sequence[Tensor], settings: RefinementSettings
) -> tuple[Tensor, Multipliers]:
    """Return gate logits, `[groups, tokens]` float32, and the multipliers at the end.

    Args:
        text: What is masked.
        baselines: Of each group; those that learn are changed in place.
        settings: How.
    """
    shape = HardConcreteShape()
    num_groups = len(text.sites)
    logits = torch.full(
        (num_groups, text.num_tokens), settings.initial_logit, requires_grad=True
    )
    learned = [baseline for baseline in baselines if baseline.requires_grad]
    optimizer = torch.optim.Adam(
        [
            {"params": [logits], "lr": settings.learning_rate},
            {"params": learned, "lr": settings.baseline_learning_rate},
        ]
    )
    multipliers = Multipliers(num_groups, settings.controller)
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.steps):
        chances = log_keep_probability(logits, shape).exp()  # [groups, tokens]
        drawn = logits.unsqueeze(1).expand(-1, settings.samples, -1)
        soft = sample(drawn, shape, generator)
        hard = (chances >= HARD_MASK_THRESHOLD).float() + chances - chances.detach()
        gates = torch.cat([hard.unsqueeze(1), soft], dim=1)
        distances = text.divergences(gates, baselines)
        # Half of the weight on what will be used, half on what has gradients all over.
        distance = (distances[:, 0] + distances[:, 1:].mean(dim=1)) / 2
        weights = torch.tensor(multipliers.values)
        loss = chances.mean(dim=1) + weights * (distance - settings.margin)
        optimizer.zero_grad()
        torch.autograd.backward(loss.sum())
        optimizer.step()
        for group, violation in enumerate((distance - settings.margin).tolist()):
            multipliers.dual_step(group, violation)
    return logits, multipliers
