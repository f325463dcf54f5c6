"""How far attributions are from what the answer rests on."""

import torch
from torch import Tensor

from diffmask_training.experiments.toy.task import Items, is_queried, true_attribution


def normalised(attribution: Tensor, items: Items) -> Tensor:
    """Return attributions as distributions over the real tokens.

    Args:
        attribution: `[batch, tokens]` float32, >= 0.
        items: What was explained.
    """
    real = attribution.double() * items.attention_mask
    return real / real.sum(dim=-1, keepdim=True)


def divergences(attribution: Tensor, items: Items) -> tuple[Tensor, Tensor]:
    """Return KL and Jensen-Shannon divergence from the true attribution.

    Args:
        attribution: `[batch, tokens]` float32, >= 0. Normalised here.
        items: What was explained; items without any of their query's digits, whose
            true attribution does not exist, are left out.

    Returns:
        Both `[items]` float64, nats: KL(true ‖ found), infinite where something true
        was found to be 0, and JS.

    Source: De Cao et al. 2020, table 1.
    """
    has_truth = is_queried(items).any(dim=-1)
    items = items[has_truth]
    true = true_attribution(items).double()
    found = normalised(attribution[has_truth], items)
    middle = (true + found) / 2
    jensen_shannon = (_kl(true, middle) + _kl(found, middle)) / 2
    return _kl(true, found), jensen_shannon


def _kl(first: Tensor, second: Tensor) -> Tensor:
    terms = torch.where(first > 0, first * (first.log() - second.log()), 0.0)
    return terms.sum(dim=-1)
