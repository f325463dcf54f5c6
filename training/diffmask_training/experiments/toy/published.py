"""The probe of the counting model fitted as the paper's authors published it.

One random state a step, sampled gates, the logarithm of the expected count, the batch
mean as constraint, and RMSprop under Lookahead for probe and multipliers, each with a
batch of masks of its own. It is here to be compared with, and shares no optimiser with
the package.

Source: De Cao et al. 2020, appendix C; what is not in the text is from their code.
Deviations: the baselines start from the states of the training items, theirs from those
of the validation items; and biases and baselines of both states are one tensor each, so
that the optimiser's averages of a state that was not drawn see a gradient of zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffmask_training.experiments.toy.model import CountingModel
from diffmask_training.experiments.toy.probing import (
    SHAPE,
    PlainRun,
    ProbeSettings,
    masked_logits,
    new_probe,
    plain_run,
)
from diffmask_training.experiments.toy.task import Items
from diffmask_training.masking import sampled_gates
from diffmask_training.objective import mean_over_tokens
from diffmask_training.probes import Probe
from diffmask_training.tasks.task import categorical_divergence

_MAX_MULTIPLIER = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSettings:
    """Settings of the authors' run.

    Attributes:
        margin: Allowed mean divergence, nats.
        epochs: Passes over the items.
        batch_size: Items a step.
        learning_rate: Of probe and baselines.
        multiplier_learning_rate: Of the multipliers.
        warmup_steps: Over which the learning rate of the probe rises.
    """

    margin: float = 0.05
    epochs: int = 100
    batch_size: int = 128
    learning_rate: float = 3e-4
    multiplier_learning_rate: float = 0.3
    warmup_steps: int = 200


class Lookahead:
    """Slow weights that follow fast ones half of the way, every few steps.

    The slow weights are first taken at the first meeting, which therefore changes
    nothing.

    Source: Zhang et al. 2019; that detail is of the authors' code.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, period: int = 6, share: float = 0.5
    ) -> None:
        self.parameters = parameters
        self.period = period
        self.share = share
        self.num_steps = 0
        self.slow: list[Tensor] = []

    @torch.no_grad()
    def step(self) -> None:
        """Take account of one step of the fast weights."""
        self.num_steps += 1
        if self.num_steps % self.period:
            return
        if not self.slow:
            self.slow = [parameter.clone() for parameter in self.parameters]
        for slow, parameter in zip(self.slow, self.parameters, strict=True):
            slow.lerp_(parameter, self.share)
            parameter.copy_(slow)


def fit_as_published(
    model: CountingModel,
    items: Items,
    settings: PublishedSettings,
    *,
    generator: torch.Generator,
) -> Probe:
    """Return a hidden probe fitted on a frozen model.

    Args:
        model: The model.
        items: What the probe learns from.
        settings: How.
        generator: Source of order, states and votes.
    """
    plain = plain_run(model, items)
    probe = new_probe(plain, items, ProbeSettings(initial_bias=5.0), kind="hidden")
    _start(probe)
    # One each: that of a state which was not drawn keeps its optimiser's average too.
    multipliers = [nn.Parameter(torch.ones(())) for _ in plain.hidden_states]
    step_probe = stepper(
        list(probe.parameters()),
        learning_rate=settings.learning_rate,
        centered=True,
        warmup_steps=settings.warmup_steps,
    )
    step_multipliers = stepper(
        multipliers,
        learning_rate=settings.multiplier_learning_rate,
        centered=False,
        warmup_steps=0,
    )

    def lagrangian(batch: Items, plain: PlainRun) -> Tensor:
        index = int(torch.randint(probe.shape.num_states, (), generator=generator))
        gates = sampled_gates(
            probe,
            plain.hidden_states,
            index,
            SHAPE,
            relaxation="soft",
            generator=generator,
        )
        masked = masked_logits(
            model, probe, batch, plain, state_index=index, gates=gates.values
        )
        distance = categorical_divergence(plain.logits, masked).mean()
        log_kept = mean_over_tokens(gates.keep_probability.log(), batch.attention_mask)
        return log_kept + multipliers[index] * (distance - settings.margin)

    for _ in range(settings.epochs):
        order = torch.randperm(len(items), generator=generator)
        for rows in torch.split(order, settings.batch_size):
            step_probe(lagrangian(items[rows], plain[rows]))
            # Ascent, by descent on the negative.
            step_multipliers(-lagrangian(items[rows], plain[rows]))
            with torch.no_grad():
                for multiplier in multipliers:
                    multiplier.clamp_(0.0, _MAX_MULTIPLIER)
    probe.requires_grad_(requires_grad=False)
    return probe


@torch.no_grad()
def _start(probe: Probe) -> None:
    """Start each baseline from the mean state, and let states in as they are."""
    probe.baselines.copy_(probe.mean)
    probe.mean.zero_()
    probe.scale.fill_(1.0)


def stepper(
    parameters: Sequence[nn.Parameter],
    *,
    learning_rate: float,
    centered: bool,
    warmup_steps: int,
) -> Callable[[Tensor], None]:
    """Return what takes one step of the authors' optimiser down a loss.

    Args:
        parameters: What is optimised; one that a loss does not depend on is left alone.
        learning_rate: Of RMSprop.
        centered: Whether RMSprop takes the variance of a gradient or its mean square.
        warmup_steps: Over which the rate rises from 0; 0 for none.
    """
    optimizer = torch.optim.RMSprop(parameters, lr=learning_rate, centered=centered)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: step / warmup_steps if step < warmup_steps else 1.0
    )
    lookahead = Lookahead(parameters)

    def step(loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()
        lookahead.step()

    return step
