"""What the removed part of each text says by itself.

A mask that keeps the prediction has not shown that what it removed was not needed: the
rest may say the same again. So the mask is turned over once more, and the share of
predictions that stay the same is reported; a low one is good.
"""

from collections.abc import Iterable

import numpy as np
import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates, masked_logits
from diffmask_training.probes import Probe


@torch.no_grad()
def complement_agreement(
    encoder: Encoder,
    probe: Probe,
    batches: Iterable[TensorBatch],
    *,
    shape: HardConcreteShape,
) -> tuple[float, ...]:
    """Run what the hard masks of every state remove, and nothing else.

    Args:
        encoder: The frozen model.
        probe: The probe.
        batches: The texts.
        shape: Of the votes' distribution.

    Returns:
        For each state, the share of predictions that stay the same, in [0, 1].
    """
    every = range(probe.shape.num_states)
    task = encoder.task
    agreements: list[list[float]] = [[] for _ in every]
    for batch in batches:
        captured = encoder.capture(batch.inputs)
        before = task.predict_all(captured.logits, batch.texts)
        for index in every:
            gates = hard_gates(probe, captured.hidden_states, index, shape).values
            logits = masked_logits(
                encoder,
                batch.inputs,
                captured,
                probe=probe,
                state_index=index,
                gates=1 - gates,
            )
            after = task.predict_all(logits, batch.texts)
            agreements[index] += map(task.agreement, before, after)
    return tuple(float(np.mean(found)) for found in agreements)
