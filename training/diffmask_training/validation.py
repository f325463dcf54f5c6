"""Deterministic validation: every state, hard masks, every text, float32."""

from collections.abc import Iterable

import numpy as np
import torch

from diffmask_training.batches import TensorBatch
from diffmask_training.encoder import Encoder
from diffmask_training.figures import Figures, MaskedRun, summarise
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import hard_gates, masked_logits
from diffmask_training.probes import Probe


@torch.no_grad()
def validate(
    encoder: Encoder,
    probe: Probe,
    batches: Iterable[TensorBatch],
    *,
    shape: HardConcreteShape,
    margin: float,
    quantile: float | None = None,
) -> Figures:
    """Run every text under the hard mask of every state.

    Args:
        encoder: The frozen model.
        probe: The probe.
        batches: The texts.
        shape: Of the votes' distribution.
        margin: Allowed divergence, nats.
        quantile: Share of the texts whose divergence to report, in (0, 1).
    """
    num_states = probe.shape.num_states
    labels, num_tokens, plain = [], [], []
    masked: list[list[MaskedRun]] = [[] for _ in range(num_states)]
    for batch in batches:
        captured = encoder.capture(batch.inputs)
        labels.append(batch.labels.numpy(force=True))
        num_tokens.append(batch.attention_mask.sum(dim=-1).numpy(force=True))
        plain.append(captured.logits.numpy(force=True))
        for index in range(num_states):
            gates = hard_gates(probe, captured.hidden_states, index, shape).values
            logits = masked_logits(
                encoder,
                batch.inputs,
                captured,
                probe=probe,
                state_index=index,
                gates=gates,
            )
            kept = (gates * batch.attention_mask).sum(dim=-1)
            masked[index].append(
                MaskedRun(
                    logits=logits.numpy(force=True),
                    num_kept=kept.long().numpy(force=True),
                )
            )
    return summarise(
        states=encoder.states,
        labels=np.concatenate(labels),
        num_tokens=np.concatenate(num_tokens),
        logits=np.concatenate(plain),
        runs=[
            MaskedRun(
                logits=np.concatenate([run.logits for run in runs]),
                num_kept=np.concatenate([run.num_kept for run in runs]),
            )
            for runs in masked
        ],
        margin=margin,
        quantile=quantile,
    )
