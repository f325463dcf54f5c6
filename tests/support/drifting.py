"""Gates of made-up texts, from one distribution or another."""

import numpy as np
from numpy.typing import NDArray

from diffmask_service.bundle import (
    ReferenceDistribution,
    References,
    count_texts,
    gate_figures,
)
from tests.support.tiny import LABELS, STATES

NUM_STATES = 8


def random_gates(
    generator: np.random.Generator, *, label_index: int = 0, lift: float = 0.0
) -> NDArray[np.float32]:
    """Return `[layers, tokens]`: the gates of one text.

    They look as those of a fitted model do: each text has an openness of its own, deep
    states are nearly shut, one label keeps more, and votes are mostly 0 or 1.

    Args:
        generator: Source of randomness.
        label_index: Predicted label of the text, 0 or 1.
        lift: How much more open its gates are, in units of the log odds.
    """
    num_tokens = int(generator.integers(5, 60))
    depth = np.linspace(1.0, -3.0 + label_index, NUM_STATES)[:, np.newaxis]
    openness = generator.normal(0.0, 0.7) + lift
    logits = depth + openness + generator.normal(0.0, 4.0, (NUM_STATES, num_tokens))
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def random_reference(
    generator: np.random.Generator, *, num_texts: int = 400, num_labels: int = 2
) -> ReferenceDistribution:
    """Return the reference of texts without a lift, as many of each label."""
    labels = [place % num_labels for place in range(num_texts)]
    figures = [
        gate_figures(random_gates(generator, label_index=label), threshold=0.5)
        for label in labels
    ]
    means = ((0.5,) * NUM_STATES,) * num_labels
    return ReferenceDistribution(
        num_texts=(num_texts // num_labels,) * num_labels,
        mean_gate=means,
        kept_share=means,
        histograms=count_texts(np.stack(figures), labels, num_labels=num_labels),
    )


def tiny_histograms() -> References:
    """Return references for the tiny bundle, from a text of each label."""
    means = ((0.5,) * len(STATES),) * len(LABELS)
    figures = np.full((len(LABELS), 2, len(STATES)), 0.5)
    reference = ReferenceDistribution(
        num_texts=(1,) * len(LABELS),
        mean_gate=means,
        kept_share=means,
        histograms=count_texts(figures, range(len(LABELS)), num_labels=len(LABELS)),
    )
    return {"input": reference, "hidden": reference}
