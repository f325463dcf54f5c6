"""The step of the probe: optimiser, learning rate, clipping.

The published optimiser is RMSprop, centred, inside Lookahead. Its denominator goes to 0
where a gradient hardly changes, as that of a logarithmic sparsity term does, and there
it blows up; AdamW is the default.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from diffmask_training.probes import Probe

OptimizerKind = Literal["adamw", "rmsprop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimalSettings:
    """How a probe descends.

    Attributes:
        optimizer: `adamw`, or `rmsprop` (centred).
        learning_rate: Of the probe's networks, at its peak.
        baseline_learning_rate: Of the baselines, likewise.
        warmup_steps: Steps over which both rise from 0.
        final_rate: Share of the peak that is left at the end, falling linearly.
        lookahead: Steps after which the probe goes half of the way back to where it was
            at the last such step; 0 for never. Zhang et al. 2019.
        max_gradient_norm: A network's gradient is scaled down to this; 0 for never.
        total_steps: Steps in all.
    """

    optimizer: OptimizerKind
    learning_rate: float
    baseline_learning_rate: float
    warmup_steps: int
    final_rate: float
    lookahead: int
    max_gradient_norm: float
    total_steps: int

    def rate(self, step: int) -> float:
        """Return the share of the peak learning rates at a step, counted from 0."""
        # Falls so that hard masks settle before they are chosen.
        left = max(1.0 - step / self.total_steps, 0.0)
        rate = self.final_rate + (1 - self.final_rate) * left
        if self.warmup_steps:
            rate *= min((step + 1) / self.warmup_steps, 1.0)
        return rate


class Primal:
    """Descends on a probe's networks and baselines.

    Attributes:
        settings: How.
        probe: What is fitted.
        parameters: All that descend.
        optimizer: Of torch.
    """

    def __init__(self, probe: Probe, settings: PrimalSettings) -> None:
        self.settings = settings
        self.probe = probe
        networks = [p for n, p in probe.named_parameters() if n != "baselines"]
        self.parameters: list[Tensor] = [*networks, probe.baselines]
        self.optimizer = _optimizer(settings, networks, probe.baselines)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, settings.rate
        )
        self._num_steps = 0
        self._slow = [p.detach().clone() for p in self.parameters]

    def clip(self) -> Tensor:
        """Clip the gradients.

        Returns:
            `[layers]` float32. Norm of each state's gradients before clipping, that of
            a shared baseline with the first; not finite where a gradient is not, or
            where its square is not, which would stop the optimiser for good.
        """
        largest = self.settings.max_gradient_norm or math.inf
        norms = []
        # Each state by itself: together, one state's spike would scale down all.
        for index in range(self.probe.shape.num_states):
            parts = [
                torch.nn.utils.clip_grad_norm_(layer.parameters(), largest)
                for layer in self.probe.layers(index)
            ]
            norms.append(torch.stack(parts).sum())
        return torch.stack(norms) + self._other_norms()

    def _other_norms(self) -> Tensor:
        norms = torch.zeros_like(self.probe.bias)
        if self.probe.bias.grad is not None:
            norms += self.probe.bias.grad.square().sqrt()
        if self.probe.baselines.grad is not None:
            found = torch.linalg.vector_norm(self.probe.baselines.grad, dim=-1)
            norms[: len(found)] += found
        return norms

    def step(self) -> None:
        """Descend by the gradients, and clear them."""
        self.optimizer.step()
        self._schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._num_steps += 1
        if self.settings.lookahead and self._num_steps % self.settings.lookahead == 0:
            self._look_ahead()

    @torch.no_grad()
    def _look_ahead(self) -> None:
        for slow, fast in zip(self._slow, self.parameters, strict=True):
            slow.add_(fast - slow, alpha=0.5)
            fast.copy_(slow)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "num_steps": self._num_steps,
            "slow": [p.clone() for p in self._slow],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self.optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._num_steps = state["num_steps"]
        for slow, value in zip(self._slow, state["slow"], strict=True):
            slow.copy_(value)


def _optimizer(
    settings: PrimalSettings, networks: list[torch.nn.Parameter], baselines: Tensor
) -> torch.optim.Optimizer:
    groups = [
        {"params": networks, "lr": settings.learning_rate},
        {"params": [baselines], "lr": settings.baseline_learning_rate},
    ]
    if settings.optimizer == "rmsprop":
        return torch.optim.RMSprop(groups, alpha=0.99, eps=1e-8, centered=True)
    # A state's first divergences are large; under the usual 0.999 they would hold its
    # steps down for a thousand more, which is most of a fit.
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
