"""Figures on the test texts: of probes in PyTorch, or of a bundle's own graph."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from diffmask_service.bundle import Bundle
from diffmask_training.batches import Encoding, sorted_batches
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import DataConfig
from diffmask_training.figures import Figures, MaskedRun, summarise
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.runtime import GraphRuntime
from diffmask_training.splits import read_splits
from diffmask_training.validation import validate


def evaluate_probe(
    classifier: Classifier, fitted: FittedProbe, encodings: Sequence[Encoding]
) -> Figures:
    """Measure the hard masks of every state in PyTorch, float32.

    Args:
        classifier: The frozen model.
        fitted: The probe; its record holds the margin.
        encodings: The test texts.
    """
    pad_id = classifier.tokenizer.pad_token_id
    return validate(
        classifier.encoder,
        fitted.probe,
        sorted_batches(encodings, batch_size=64, pad_id=pad_id),
        shape=HardConcreteShape(),
        margin=float(fitted.record.config["margin"]),
    )


def evaluate_graph(
    runtime: GraphRuntime, encodings: Sequence[Encoding], *, margin: float
) -> Figures:
    """Measure a graph's input gates with the graph itself, through its `keep` input.

    Args:
        runtime: The graph.
        encodings: The test texts.
        margin: Allowed divergence, nats.
    """
    states = runtime.states
    logits: list[NDArray[np.float32]] = []
    runs: list[list[NDArray[np.float32]]] = [[] for _ in states]
    kept: list[list[int]] = [[] for _ in states]
    for encoding in encodings:
        plain = runtime.run(encoding)
        logits.append(plain.logits)
        for index in range(len(states)):
            keep = plain.input_gates[index] >= runtime.threshold
            kept[index].append(int(keep.sum()))
            runs[index].append(runtime.run(encoding, keep).logits)
    return summarise(
        states=states,
        labels=np.array([encoding.label for encoding in encodings]),
        num_tokens=np.array([len(encoding.input_ids) for encoding in encodings]),
        logits=np.stack(logits),
        runs=[
            MaskedRun(logits=np.stack(masked), num_kept=np.array(counts))
            for masked, counts in zip(runs, kept, strict=True)
        ],
        margin=margin,
    )


def evaluate_bundle(bundle: Bundle, config: DataConfig) -> Figures:
    """Measure a bundle's default graph on the test texts, with nothing but the bundle.

    Args:
        bundle: The bundle.
        config: Where the texts are, and their cut.
    """
    manifest = bundle.manifest
    tokenizer = Tokenizer.from_str(bundle.files["tokenizer.json"].decode())
    tokenizer.enable_truncation(min(config.max_train_tokens, manifest.max_tokens))
    encodings = []
    for record in read_splits(config, manifest.labels).test:
        tokens = tokenizer.encode(record.text, record.text_pair)
        encodings.append(
            Encoding(
                input_ids=tuple(tokens.ids),
                token_type_ids=tuple(tokens.type_ids),
                label=-1 if record.label is None else record.label,
            )
        )
    runtime = GraphRuntime(
        bundle.graph(manifest.default_graph),
        states=manifest.states,
        threshold=manifest.gates.hard_mask_threshold,
    )
    return evaluate_graph(runtime, encodings, margin=manifest.probes["input"].margin)
