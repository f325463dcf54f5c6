"""The margin in nats, from what the model's own predictions are like.

A tenth of a nat is nothing to a model that hardly decides among five labels, and a lot
to one that is sure between two. So by default the margin is a share of the mean entropy
of the model's outputs: a masked prediction may stray about as far as the model is
undecided anyway.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder

# A vague model's entropy is more than what its predictions differ by. Were the margin
# that large, the mean prediction, which needs no text at all, would keep within it. At
# half of that, two small classifiers of sentiment kept 2 % of the tokens at middle
# depth and 77 % of the predictions; at a quarter 6 and 11 %, and 85 and 86 %.
_LARGEST_SHARE_OF_INFORMATION = 0.25
# Below this, validation sees the noise of hard masks and nothing else.
_SMALLEST_MARGIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """How sure a model is of its predictions on some texts.

    Attributes:
        entropy: Mean entropy of a prediction, nats.
        information: Mean divergence of the mean prediction from the predictions, nats:
            what is lost when nothing of a text is read.
    """

    entropy: float
    information: float


@torch.no_grad()
def describe_outputs(encoder: Encoder, batches: Iterable[TensorBatch]) -> Outputs:
    """Return how sure a model is.

    Args:
        encoder: The model.
        batches: The texts, at least one.
    """
    task = encoder.task
    device = next(encoder.model.parameters()).device
    entropies, logits = [], []
    for batch in batches:
        inputs = batch.to(device).inputs
        found = encoder.capture(inputs).logits.float()
        entropies.append(task.entropy(found, inputs))
        logits.append(found)
    # Predictions for each token have no mean over texts.
    per_text = logits[0].dim() == 2
    return Outputs(
        entropy=float(torch.cat(entropies).double().mean()),
        information=task.information(torch.cat(logits)) if per_text else math.inf,
    )


def margin_of(outputs: Outputs, share: float) -> float:
    """Return the margin that is a share of the mean output entropy, nats.

    It is at most a quarter of what reading nothing at all would cost, and never under
    0.01.

    Args:
        outputs: How sure the model is on the validation texts.
        share: Of the entropy, > 0.
    """
    most = _LARGEST_SHARE_OF_INFORMATION * outputs.information
    return max(min(share * outputs.entropy, most), _SMALLEST_MARGIN)
