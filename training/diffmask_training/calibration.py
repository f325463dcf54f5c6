"""Last step of a fit: shift each state's bias until its hard masks meet the limit.

Training meets its constraint on sampled gates and on texts that the classifier knows by
heart. What is served are hard masks on texts that nobody has seen, and there the
divergence may lie on either side. One number a state, found on the validation texts by
bisection, sets that right without touching what the probe has learned to rank.
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
    reserve: float,
) -> None:
    """Shift the biases of a probe in place, from the lowest state up.

    A hidden probe's states stand alone, so each may open or close. Votes of an input
    probe are handed on to all states above, so they are only ever opened; with the
    gates of one state within the limit, those of the next can be brought within it.

    Args:
        encoder: The frozen model.
        probe: The probe.
        batches: The validation texts.
        constraint: How far masked predictions may stray.
        shape: Of the votes' distribution.
        reserve: Share of the limit that is left for unseen texts, in [0, 1).
    """
    limit = (1 - reserve) * constraint.limit
    lowest = 0.0 if probe.shape.kind == "input" else -_LARGEST_SHIFT
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

        shift = smallest_shift(bounded, limit=limit, lowest=lowest)
        probe.bias[index] = bias + shift


def smallest_shift(
    bounded: Callable[[float], float], *, limit: float, lowest: float
) -> float:
    """Return about the smallest shift under which a falling quantity meets a limit.

    Args:
        bounded: The quantity under a shift; falls as the shift rises.
        limit: What it may be at most.
        lowest: Smallest shift allowed.

    Returns:
        A shift under which it was seen to meet the limit, or the largest one allowed.
    """
    if bounded(lowest) <= limit:
        return lowest
    low, high = lowest, _LARGEST_SHIFT
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if bounded(middle) <= limit:
            high = middle
        else:
            low = middle
    return high
