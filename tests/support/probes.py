"""Probes of a tiny classifier: with random votes, or taught to keep certain tokens."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.explained import (
    ExplainedText,
    explain_texts,
    keep_probabilities,
)
from diffmask_training.probes import Probe, ProbeKind, ProbeShape


def shape_for(classifier: Classifier, kind: ProbeKind) -> ProbeShape:
    """Return the sizes of a small probe of a classifier, gates half open."""
    encoder = classifier.encoder
    return ProbeShape(
        kind=kind,
        num_states=encoder.num_states,
        hidden_size=encoder.hidden_size,
        embedding_size=encoder.embedding_size,
        bottleneck_size=4,
        initial_bias=0.5,
    )


def random_probe(classifier: Classifier, kind: ProbeKind, *, seed: int = 0) -> Probe:
    """Return a probe with random votes, and [MASK] for its baseline."""
    torch.manual_seed(seed)
    probe = Probe(shape_for(classifier, kind))
    if kind == "input":
        words = classifier.encoder.model.get_input_embeddings().weight
        probe.baselines.data[0] = words[classifier.tokenizer.mask_token_id]
    return probe.eval()


def random_probes(
    classifier: Classifier, *, seed: int = 0
) -> Mapping[ProbeKind, Probe]:
    """Return a random probe of either kind."""
    return {
        "input": random_probe(classifier, "input", seed=seed),
        "hidden": random_probe(classifier, "hidden", seed=seed + 1),
    }


# From a text, as a plain run of the model shows it, to the tokens to keep, `[tokens]`.
Target = Callable[[ExplainedText], NDArray[np.bool_]]


def taught_probe(
    classifier: Classifier,
    encodings: Sequence[Encoding],
    target: Target,
    *,
    seed: int = 0,
    steps: int = 150,
) -> Probe:
    """Return an input probe whose last state has learned to keep what it was told to.

    All other states keep everything.

    Args:
        classifier: The frozen model.
        encodings: Texts to learn from.
        target: What to keep of each.
        seed: Of the probe.
        steps: Over all texts at once.
    """
    probe = random_probe(classifier, "input", seed=seed).train()
    batch = collate(encodings, pad_id=classifier.tokenizer.pad_token_id)
    with torch.no_grad():
        captured = classifier.encoder.capture(batch.inputs)
        probe.mean.copy_(
            torch.stack([s.flatten(0, 1).mean(0) for s in captured.hidden_states])
        )
        probe.scale.copy_(
            torch.stack([s.std().expand(s.shape[-1]) for s in captured.hidden_states])
        )
    wanted = torch.ones(
        len(encodings), probe.shape.num_states, batch.attention_mask.shape[1]
    )
    for row, text in enumerate(explain_texts(classifier, {"input": probe}, encodings)):
        keep = target(text)
        wanted[row, -1, : len(keep)] = torch.from_numpy(keep).float()
    real = batch.attention_mask.bool().unsqueeze(1).expand_as(wanted)
    optimizer = torch.optim.Adam(probe.parameters(), lr=0.03)
    for _ in range(steps):
        gates = keep_probabilities(probe, captured.hidden_states).clamp(1e-6, 1 - 1e-6)
        loss = functional.binary_cross_entropy(gates[real], wanted[real])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return probe.eval()
