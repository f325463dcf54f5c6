"""Last step of a fit: open the gates of states whose hard masks break the limit.

Training meets its constraint on sampled gates and on texts that the classifier knows by
heart. What is served are hard masks on texts that nobody has seen, and there some
states stray too far. A shift of the bias, found on the validation texts by bisection,
brings those back without touching what the probe has learned to rank. A state within
the limit is left as it is: a shift buys divergence at a worse price than training does.
"""

from collections.abc import Callable, Sequence

import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates, masked_logits
from diffmask_training.objective import Constraint, divergence
from diffmask_training.probes import Probe

_STEPS = 8
# Opens every gate, whatever its network says: gate logits reach 10 under their bias.
_LARGEST_SHIFT = 14.0


@torch.no_grad()
def calibrate(
    encoder: Encoder,
    probe: Probe,
    batches: Sequence[TensorBatch],
    *,
    constraint: Constraint,
    shape: HardConcreteShape,
    limit: float,
) -> None:
    """Raise the biases of a hidden probe in place where it breaks the limit.

    Each state of a hidden probe stands alone. Those of an input probe share their
    votes, and opening one opens all above it, so this is not for them.

    Args:
        encoder: The frozen model.
        probe: A hidden probe.
        batches: The validation texts.
        constraint: How far masked predictions may stray.
        shape: Of the votes' distribution.
        limit: Largest divergence (or excess) of a state, nats.
    """
    captured = [encoder.capture(batch.inputs) for batch in batches]
    for index in range(probe.shape.num_states):
        bias = float(probe.bias[index])

        def bounded(shift: float, index: int = index, bias: float = bias) -> float:
            probe.bias[index] = bias + shift
            divergences = []
            for batch, plain in zip(batches, captured, strict=True):
                gates = hard_gates(probe, plain.hidden_states, index, shape).values
                logits = masked_logits(
                    encoder,
                    batch.inputs,
                    plain,
                    probe=probe,
                    state_index=index,
                    gates=gates,
                )
                divergences.append(divergence(plain.logits, logits))
            return float(constraint.bounded(torch.cat(divergences)))

        shift = smallest_shift(bounded, limit=limit)
        probe.bias[index] = bias + shift


def smallest_shift(bounded: Callable[[float], float], *, limit: float) -> float:
    """Return about the smallest shift from 0 up under which a quantity meets a limit.

    Args:
        bounded: The quantity under a shift; falls as the shift rises.
        limit: What it may be at most.

    Returns:
        A shift under which it was seen to meet the limit, or the largest one allowed.
    """
    if bounded(0.0) <= limit:
        return 0.0
    low, high = 0.0, _LARGEST_SHIFT
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if bounded(middle) <= limit:
            high = middle
        else:
            low = middle
    return high
