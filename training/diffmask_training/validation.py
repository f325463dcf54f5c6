"""Deterministic validation: every state, hard masks, every text, float32."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from diffmask_training.batches import Encoding, TensorBatch
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
    task = encoder.task
    texts: list[Encoding] = []
    predictions: list[Any] = []
    runs = [_Run() for _ in encoder.states]
    for batch in batches:
        captured = encoder.capture(batch.inputs)
        texts += batch.texts
        predictions += task.predict_all(captured.logits, batch.texts)
        for index, run in enumerate(runs):
            gates = hard_gates(probe, captured.hidden_states, index, shape).values
            logits = masked_logits(
                encoder,
                batch.inputs,
                captured,
                probe=probe,
                state_index=index,
                gates=gates,
            )
            distance = task.divergence(
                captured.logits.double(), logits.double(), batch.inputs
            )
            kept = (gates * batch.attention_mask).sum(dim=-1)
            run.predictions += task.predict_all(logits, batch.texts)
            run.divergences += distance.tolist()
            run.num_kept += kept.long().tolist()
    return summarise(
        task=task,
        states=encoder.states,
        texts=texts,
        predictions=predictions,
        runs=[
            MaskedRun(
                predictions=run.predictions,
                divergences=run.divergences,
                num_kept=run.num_kept,
            )
            for run in runs
        ],
        margin=margin,
        quantile=quantile,
    )


@dataclass
class _Run:
    """One state's masked runs, as they come in."""

    predictions: list[Any] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)
    num_kept: list[int] = field(default_factory=list)
