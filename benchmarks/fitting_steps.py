"""Steps of a fit, ours and the published loop's, on one batch and the same probe."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.published_loop import PublishedLoop
from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.encoder import Encoder
from diffmask_training.probes import Probe, ProbeKind, ProbeShape
from diffmask_training.trainer import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Loops:
    """Two loops that fit the same probe.

    Attributes:
        kind: Of the probe.
        ours: Takes a step of `Trainer`.
        our_probe: What it fits.
        states_per_step: States that it visits.
        published: Takes a step of the published loop, which visits one for the probe.
        published_probe: What it fits, the same at the start.
    """

    kind: ProbeKind
    ours: Callable[[], object]
    our_probe: Probe
    states_per_step: int
    published: Callable[[], object]
    published_probe: Probe


def open_loops(
    checkpoint: Path | None, *, num_texts: int, num_tokens: int, rounds: int
) -> Iterator[Loops]:
    """Yield both loops for each kind of probe.

    Args:
        checkpoint: A classifier; a random 6-layer BERT without one.
        num_texts: In the batch.
        num_tokens: Of each text.
        rounds: Steps that will be taken.
    """
    encoder = _encoder(checkpoint)
    batch = collate(
        _texts(encoder, num_texts=num_texts, num_tokens=num_tokens), pad_id=0
    )
    for kind in get_args(ProbeKind):
        config = FitConfig(kind=kind, batch_size=num_texts)
        probe = _probe(encoder, kind)
        published_probe = copy.deepcopy(probe)
        published = PublishedLoop(encoder, published_probe)
        trainer = Trainer(config, encoder, probe, pad_id=0, total_steps=rounds)
        yield Loops(
            kind=kind,
            ours=partial(trainer.step, batch),
            our_probe=probe,
            states_per_step=config.states_per_text,
            published=partial(published.step, batch.inputs),
            published_probe=published_probe,
        )


def _encoder(checkpoint: Path | None) -> Encoder:
    if checkpoint is not None:
        return load_classifier(checkpoint).encoder
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    return Encoder(BertForSequenceClassification(config))


def _probe(encoder: Encoder, kind: ProbeKind) -> Probe:
    torch.manual_seed(0)
    return Probe(
        ProbeShape(
            kind=kind,
            num_states=encoder.num_states,
            hidden_size=encoder.hidden_size,
            embedding_size=encoder.embedding_size,
            bottleneck_size=encoder.hidden_size // 4,
        )
    )


def _texts(encoder: Encoder, *, num_texts: int, num_tokens: int) -> list[Encoding]:
    generator = torch.Generator().manual_seed(0)
    size = encoder.model.config.vocab_size
    ids = torch.randint(1, size, (num_texts, num_tokens), generator=generator)
    return [
        Encoding(input_ids=tuple(row), token_type_ids=(0,) * num_tokens, label=0)
        for row in ids.tolist()
    ]
