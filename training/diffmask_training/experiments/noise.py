"""Attribution by noise: how much of a state may be blurred, found for each item.

The two methods of the paper's comparison that no library keeps for states of any model.
A state is a function's argument here, so the same code serves the counting task and a
transformer.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_LEARNING_RATE = 0.1


def schulz(
    states: Tensor,
    attention_mask: Tensor,
    *,
    error: Callable[[Tensor], Tensor],
    mean: Tensor,
    scale: Tensor,
    num_steps: int,
    generator: torch.Generator,
    weight: float = 10.0,
) -> Tensor:
    """Return how little of each position may be replaced by noise.

    Args:
        states: `[batch, tokens, hidden]` float32. What is attributed to.
        attention_mask: `[batch, tokens]` int64, 1 for real tokens.
        error: Returns the mean loss of the right answers under other states.
        mean: Of states like these; broadcast to theirs.
        scale: Their standard deviation, likewise.
        num_steps: Of the optimisation.
        generator: Source of the noise.
        weight: Of the information that is let through.

    Returns:
        `[batch, tokens]` float32 in (0, 1).

    Source: Schulz et al. 2020, per-sample bottleneck; starting value and the form of
    the loss from the code of De Cao et al. 2020.
    """

    def loss(logit: Tensor) -> Tensor:
        share = torch.sigmoid(logit).unsqueeze(-1)
        noise = _normal(states.shape, generator) * scale * (1 - share)
        noisy = share * states + (1 - share) * mean + noise
        # KL of two normal distributions whose scales have the ratio 1 - share.
        kept_square = (share * (states - mean) / scale).square()
        ratio = (1 - share).clamp(min=1e-8)
        information = ((ratio.square() + kept_square - 1) / 2 - ratio.log()).mean(-1)
        return error(noisy) + weight * (information * attention_mask).mean()

    shape = attention_mask.shape
    return torch.sigmoid(_minimised(loss, shape, start=5.0, num_steps=num_steps))


def guan(
    states: Tensor,
    attention_mask: Tensor,
    *,
    run: Callable[[Tensor], Tensor],
    num_steps: int,
    generator: torch.Generator,
    weight: float = 1.0,
) -> Tensor:
    """Return how little noise each position bears.

    Args:
        states: `[batch, tokens, hidden]` float32. What is attributed to.
        attention_mask: `[batch, tokens]` int64, 1 for real tokens.
        run: Returns the outputs under other states, `[batch, ...]`, which should not
            change.
        num_steps: Of the optimisation.
        generator: Source of the noise.
        weight: Of the noise's entropy.

    Returns:
        `[batch, tokens]` float32, > 0.

    Source: Guan et al. 2019; starting value and the form of the loss from the code of
    De Cao et al. 2020.
    """
    with torch.no_grad():
        original = run(states)

    def loss(logit: Tensor) -> Tensor:
        scale = functional.softplus(logit)
        noise = _normal(states.shape, generator) * scale.unsqueeze(-1)
        change = run(states + noise) - original
        # The entropy of a normal distribution, but for a constant.
        entropy = (scale.log() * attention_mask).sum(dim=-1).mean()
        objective: Tensor = change.square().mean() - weight * entropy
        return objective

    logit = _minimised(loss, attention_mask.shape, start=-5.0, num_steps=num_steps)
    return functional.softplus(logit).reciprocal()


def _minimised(
    loss: Callable[[Tensor], Tensor], shape: torch.Size, *, start: float, num_steps: int
) -> Tensor:
    logit = torch.full(shape, start, requires_grad=True)
    optimizer = torch.optim.RMSprop([logit], lr=_LEARNING_RATE, centered=True)
    for _ in range(num_steps):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(logit))
        optimizer.step()
    return logit.detach()


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)
