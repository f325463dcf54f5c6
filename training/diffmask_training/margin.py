"""The margin in nats, from what the model's own predictions are like.

A tenth of a nat is nothing to a model that hardly decides among five labels, and a lot
to one that is sure between two. So by default the margin is a share of the mean entropy
of the model's outputs: a masked prediction may stray about as far as the model is
undecided anyway.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# A vague model's entropy is more than what its predictions differ by. Were the margin
# that large, the mean prediction, which needs no text at all, would keep within it.
_LARGEST_SHARE_OF_INFORMATION = 0.5
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


def describe_outputs(logits: Tensor) -> Outputs:
    """Return how sure a model is.

    Args:
        logits: `[batch, labels]` float32. Of plain runs.
    """
    log_chances = torch.log_softmax(logits.double(), dim=-1)
    chances = log_chances.exp()
    entropy = -(chances * log_chances).sum(dim=-1).mean()
    mean = chances.mean(dim=0)
    mean_entropy = -torch.xlogy(mean, mean).sum()
    return Outputs(
        entropy=float(entropy), information=max(float(mean_entropy - entropy), 0.0)
    )


def margin_of(outputs: Outputs, share: float) -> float:
    """Return the margin that is a share of the mean output entropy, nats.

    It is at most half of what reading nothing at all would cost, and never under 0.01.

    Args:
        outputs: How sure the model is on the validation texts.
        share: Of the entropy, > 0.
    """
    most = _LARGEST_SHARE_OF_INFORMATION * outputs.information
    return max(min(share * outputs.entropy, most), _SMALLEST_MARGIN)
