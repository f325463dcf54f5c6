"""Figures on the test texts: of probes in PyTorch, or of a bundle's own graph."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer

from diffmask_service.bundle import Bundle
from diffmask_training.batches import (
    Encoding,
    TensorBatch,
    collate,
    sorted_batches,
)
from diffmask_training.checkpoint import FittedProbe
from diffmask_training.classifier import Classifier
from diffmask_training.config import DataConfig
from diffmask_training.encoding import encoding_of
from diffmask_training.figures import Figures, MaskedRun, summarise
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.runtime import GraphRuntime
from diffmask_training.splits import read_splits
from diffmask_training.tasks import Task, task_named
from diffmask_training.validation import validate


def evaluate_probe(
    classifier: Classifier,
    fitted: FittedProbe,
    encodings: Sequence[Encoding],
    *,
    track: Callable[[Sequence[TensorBatch]], Iterable[TensorBatch]] = iter,
) -> Figures:
    """Measure the hard masks of every state in PyTorch, float32.

    Args:
        classifier: The frozen model.
        fitted: The probe; its record holds the margin.
        encodings: The test texts.
        track: Shows the batches that are worked on while they are.
    """
    encoder, pad_id = classifier.encoder, classifier.tokenizer.pad_token_id
    # Distances are measured as they were while the probe was fitted.
    encoder.task = encoder.task.with_value(fitted.record.value)
    return validate(
        encoder,
        fitted.probe,
        track(list(sorted_batches(encodings, batch_size=64, pad_id=pad_id))),
        shape=HardConcreteShape(),
        margin=float(fitted.record.config["margin"]),
    )


def evaluate_graph(
    runtime: GraphRuntime,
    encodings: Sequence[Encoding],
    *,
    task: Task,
    margin: float,
) -> Figures:
    """Measure a graph's input gates with the graph itself, through its `keep` input.

    Args:
        runtime: The graph.
        encodings: The test texts.
        task: What it predicts.
        margin: Allowed divergence, nats.
    """
    rows = [_masked_runs(runtime, encoding, task) for encoding in encodings]
    runs = [
        MaskedRun(
            predictions=[run.prediction for run in of_state],
            divergences=[run.divergence for run in of_state],
            num_kept=[run.num_kept for run in of_state],
        )
        for of_state in zip(*(row.masked for row in rows), strict=True)
    ]
    return summarise(
        task=task,
        states=runtime.states,
        texts=encodings,
        predictions=[row.prediction for row in rows],
        runs=runs,
        margin=margin,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Masked:
    """One text under one mask: what it gave, how far off, with how many tokens."""

    prediction: Any
    divergence: float
    num_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One text: what it gave, and what under the mask of each state."""

    prediction: Any
    masked: tuple[_Masked, ...]


def _masked_runs(runtime: GraphRuntime, encoding: Encoding, task: Task) -> _Row:
    plain = runtime.run(encoding)
    inputs = collate([encoding], pad_id=0).inputs
    logits = torch.from_numpy(plain.logits[None]).double()
    masked = []
    for gates in plain.input_gates:
        keep = gates >= runtime.threshold
        found = runtime.run(encoding, keep).logits
        distance = task.divergence(
            logits, torch.from_numpy(found[None]).double(), inputs
        )
        masked.append(
            _Masked(
                prediction=task.predict(found, encoding),
                divergence=float(distance),
                num_kept=int(keep.sum()),
            )
        )
    return _Row(prediction=task.predict(plain.logits, encoding), masked=tuple(masked))


def evaluate_bundle(bundle: Bundle, config: DataConfig) -> Figures:
    """Measure a bundle's default graph on the test texts, with nothing but the bundle.

    Args:
        bundle: The bundle.
        config: Where the texts are, and their cut.
    """
    manifest = bundle.manifest
    task = (
        task_named(manifest.task)
        .with_value(manifest.value)
        .with_labels(manifest.labels)
        .with_longest_answer(manifest.max_answer_tokens)
        .with_no_answer(manifest.no_answer_threshold)
    )
    tokenizer = Tokenizer.from_str(bundle.files["tokenizer.json"].decode())
    tokenizer.enable_truncation(
        min(config.max_train_tokens, manifest.max_tokens), strategy=task.truncation
    )
    splits = read_splits(config, manifest.labels, task=task.name)
    encodings = [
        encoding_of(record, tokenizer.encode(record.text, record.text_pair), task=task)
        for record in splits.test
    ]
    runtime = GraphRuntime(
        bundle.graph(manifest.default_graph),
        states=manifest.states,
        threshold=manifest.gates.hard_mask_threshold,
    )
    margin = manifest.probes["input"].margin
    return evaluate_graph(runtime, encodings, task=task, margin=margin)
