"""What the probe is compared with, on either state.

Source: De Cao et al. 2020, appendix C.1; weights, starting values and the form of each
loss from the authors' code.
"""

from functools import partial

import torch
from captum.attr import IntegratedGradients
from torch import Tensor
from torch.nn import functional

from diffmask_training.experiments import noise
from diffmask_training.experiments.toy.model import CountingModel
from diffmask_training.experiments.toy.task import Items, is_queried

_BATCH = 20_000


def exact_erasure(items: Items) -> Tensor:
    """Return all weight on one digit that alone gives the same answer.

    That is the first of those that speak for the answer. Where there is none (nothing
    speaks for a draw), nothing is needed, and the first of either digit stands in.

    Args:
        items: Questions, each with one of its query's digits at least.

    Returns:
        `[batch, tokens]` float32, one 1 in each row.
    """
    for_answer = 1 - items.labels
    wanted = items.queries.gather(1, for_answer.unsqueeze(-1))
    is_wanted = (items.digits == wanted) & items.attention_mask.bool()
    either = is_queried(items)
    chosen = torch.where(is_wanted.any(dim=-1, keepdim=True), is_wanted, either)
    first = chosen.float().argmax(dim=-1)
    return functional.one_hot(first, items.digits.shape[1]).float()


def integrated_gradients(
    model: CountingModel, items: Items, *, state_index: int, num_steps: int
) -> Tensor:
    """Return the size of each position's integrated gradient from a zero baseline.

    Args:
        model: The frozen model.
        items: What is explained.
        state_index: Which state is attributed to.
        num_steps: Points on the way.

    Returns:
        `[batch, tokens]` float32, >= 0.

    Source: Sundararajan et al. 2017, by Captum.
    """
    states = model.hidden_states(items)[state_index]

    def logits(state: Tensor, rows: Tensor) -> Tensor:
        return model.run_from(items[rows.long()], state_index, state)

    found: Tensor = IntegratedGradients(logits).attribute(
        states,
        # Captum repeats these for every point, as it does the states.
        additional_forward_args=(torch.arange(len(items)).float(),),
        n_steps=num_steps,
        method="riemann_right",
        internal_batch_size=_BATCH,
    )
    return found.sum(dim=-1).abs().float()


def schulz(
    model: CountingModel,
    items: Items,
    train_items: Items,
    *,
    state_index: int,
    num_steps: int,
    generator: torch.Generator,
    weight: float = 10.0,
) -> Tensor:
    """Return how little of each position may be replaced by noise.

    Args:
        model: The frozen model.
        items: What is explained, with the true labels.
        train_items: Whose states the noise is like.
        state_index: Which state is attributed to.
        num_steps: Of the optimisation.
        generator: Source of the noise.
        weight: Of the information that is let through.

    Returns:
        `[batch, tokens]` float32 in (0, 1).

    Source: Schulz et al. 2020, per-sample bottleneck.
    """
    states = model.hidden_states(items)[state_index]
    others = model.hidden_states(train_items)[state_index]
    # Statistics are those of a position; padding counts among them, as in the source.
    width = states.shape[1]

    def error(noisy: Tensor) -> Tensor:
        logits = model.run_from(items, state_index, noisy)
        labels = items.labels.float()
        return functional.binary_cross_entropy_with_logits(logits, labels)

    return noise.schulz(
        states,
        items.attention_mask,
        error=error,
        mean=others.mean(dim=0)[:width],
        scale=others.std(dim=0)[:width] + 1e-8,
        num_steps=num_steps,
        generator=generator,
        weight=weight,
    )


def guan(
    model: CountingModel,
    items: Items,
    *,
    state_index: int,
    num_steps: int,
    generator: torch.Generator,
    weight: float = 1.0,
) -> Tensor:
    """Return how little noise each position bears.

    Args:
        model: The frozen model.
        items: What is explained.
        state_index: Which state is attributed to.
        num_steps: Of the optimisation.
        generator: Source of the noise.
        weight: Of the noise's entropy.

    Returns:
        `[batch, tokens]` float32, > 0.

    Source: Guan et al. 2019.
    """
    return noise.guan(
        model.hidden_states(items)[state_index],
        items.attention_mask,
        run=partial(model.run_from, items, state_index),
        num_steps=num_steps,
        generator=generator,
        weight=weight,
    )
