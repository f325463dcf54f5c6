"""What the hard masks of one probe do, and how sure each gate is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffmask_training.batches import collate
from diffmask_training.classifier import Classifier
from diffmask_training.experiments.sentiment.sentences import EncodedSentence
from diffmask_training.hard_concrete import HardConcreteShape
from diffmask_training.masking import HARD_MASK_THRESHOLD, hard_gates, masked_logits
from diffmask_training.metrics.classification import accuracy, macro_f1
from diffmask_training.probes import Probe

_BATCH = 64
_SHAPE = HardConcreteShape()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """One probe on some sentences.

    Attributes:
        predicted: `[batch]` int64. Labels of the plain runs.
        masked: `[layers, batch]` int64. Labels under each state's hard mask; empty
            where only the gates were asked for.
        keep_probability: For each sentence `[layers, tokens]` float32, special tokens
            counted.
    """

    predicted: NDArray[np.int64]
    masked: NDArray[np.int64]
    keep_probability: tuple[NDArray[np.float32], ...]


@torch.no_grad()
def run_probe(
    classifier: Classifier,
    probe: Probe,
    sentences: Sequence[EncodedSentence],
    *,
    with_masks: bool,
) -> ProbeRun:
    """Run one probe.

    Args:
        classifier: The frozen model.
        probe: Of either kind.
        sentences: What is explained, in any order.
        with_masks: Whether to run the model under every state's hard mask too.
    """
    num_states = probe.shape.num_states
    predicted = np.zeros(len(sentences), dtype=np.int64)
    masked = np.zeros((num_states if with_masks else 0, len(sentences)), dtype=np.int64)
    keep: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(sentences)
    lengths = [len(sentence.words) for sentence in sentences]
    order = np.argsort(lengths, kind="stable")
    for rows in np.array_split(order, -(-len(order) // _BATCH)):
        batch = collate(
            [sentences[row].encoding for row in rows],
            pad_id=classifier.tokenizer.pad_token_id,
        )
        captured = classifier.encoder.capture(batch.inputs)
        predicted[rows] = captured.logits.argmax(dim=-1).numpy()
        gates = [
            hard_gates(probe, captured.hidden_states, index, _SHAPE)
            for index in range(num_states)
        ]
        probabilities = torch.stack([gate.keep_probability for gate in gates], dim=1)
        for row, found in zip(rows, probabilities.numpy(), strict=True):
            keep[row] = found[:, : lengths[row]]
        for index in range(len(masked)):
            logits = masked_logits(
                classifier.encoder,
                batch.inputs,
                captured,
                probe=probe,
                state_index=index,
                gates=gates[index].values,
            )
            masked[index, rows] = logits.argmax(dim=-1).numpy()
    return ProbeRun(predicted=predicted, masked=masked, keep_probability=tuple(keep))


def faithfulness(run: ProbeRun, labels: NDArray[np.int64]) -> dict[str, float]:
    """Return F1 and agreement before and under hard masks, means over the states.

    Args:
        run: With masks.
        labels: `[batch]` int64. True labels, in the order of the run.
    """
    kept = np.concatenate(
        [keep >= HARD_MASK_THRESHOLD for keep in run.keep_probability], axis=1
    )
    return {
        "f1_before": macro_f1(run.predicted, labels),
        "batch_f1_before": batch_averaged_f1(run.predicted, labels),
        "f1_masked": _mean([macro_f1(p, labels) for p in run.masked]),
        "batch_f1_masked": _mean([batch_averaged_f1(p, labels) for p in run.masked]),
        "masked_share": 1 - float(kept.mean()),
        "agreement": _mean([accuracy(p, run.predicted) for p in run.masked]),
        "accuracy": accuracy(run.predicted, labels),
    }


def batch_averaged_f1(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], *, batch_size: int = 64
) -> float:
    """Return macro F1 of each batch, averaged over batches, as the paper's code does.

    Classes are those up to the highest label in the batch. One without a true item has
    recall 1, one that is never predicted precision 0. It is lower than F1 over the
    whole set, more so the smaller the batches, and here to be compared with the paper.

    Args:
        predicted: `[batch]` label indices, in the order of the file.
        labels: `[batch]` true label indices.
        batch_size: Items a batch.

    Source: The authors' code.
    """
    scores = []
    for start in range(0, len(labels), batch_size):
        found, true = (x[start : start + batch_size] for x in (predicted, labels))
        scores.append(
            _mean(
                [
                    _class_f1(found == label, true == label)
                    for label in range(int(max(found.max(), true.max())) + 1)
                ]
            )
        )
    return _mean(scores)


def seed_spread(runs: Sequence[ProbeRun]) -> float:
    """Return the spread of keep probabilities over seeds.

    That is the standard deviation over runs of each gate (sentence, token, state),
    averaged over all gates.

    Args:
        runs: On the same sentences, two at least.
    """
    stacked = np.stack(
        [np.concatenate(run.keep_probability, axis=1) for run in runs]
    )  # [runs, layers, all tokens]
    return float(stacked.std(axis=0, ddof=1).mean())


def _class_f1(found: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    right = float((found & true).sum())
    precision = right / found.sum() if found.any() else 0.0
    recall = right / true.sum() if true.any() else 1.0
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
