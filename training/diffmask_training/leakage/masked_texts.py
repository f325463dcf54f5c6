"""Explained texts under their own masks."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.encoder import Encoder
from diffmask_training.errors import MetricError
from diffmask_training.explained import ExplainedText
from diffmask_training.leakage.evaluator import masked_run
from diffmask_training.probes import ProbeKind

_BATCH_SIZE = 64


def masks_by_state(
    texts: Sequence[ExplainedText], kind: ProbeKind, states: Sequence[str]
) -> Iterator[tuple[str, list[NDArray[np.bool_]]]]:
    """Yield each state with the hard mask of every text, `[tokens]` bool.

    Masks of input tokens begin with those of the mean over states, called `score`.
    """
    if kind == "input":
        yield "score", [text.score_mask for text in texts]
    for index, state in enumerate(states):
        yield state, [text.hard_masks(kind)[index] for text in texts]


@torch.no_grad()
def masked_probabilities(
    encoder: Encoder,
    texts: Sequence[ExplainedText],
    masks: Sequence[NDArray[np.bool_]],
    baseline: Tensor,
    pad_id: int,
) -> NDArray[np.float64]:
    """Return what a model makes of masked texts, `[texts, labels]`.

    Args:
        encoder: The model.
        texts: At least one.
        masks: Of each text `[tokens]` bool, true for a kept token.
        baseline: `[hidden]` float32. What takes a masked token's place.
        pad_id: Vocabulary index of the padding token.

    Raises:
        MetricError: There are no texts.
    """
    if not texts:
        raise MetricError("leakage needs texts to be tested on")
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].tokens))
    found: dict[int, NDArray[np.float64]] = {}
    for start in range(0, len(order), _BATCH_SIZE):
        indices = order[start : start + _BATCH_SIZE]
        logits = masked_run(
            encoder,
            [texts[index] for index in indices],
            [torch.from_numpy(masks[index]) for index in indices],
            baseline=baseline,
            pad_id=pad_id,
        )
        found.update(zip(indices, logits.double().softmax(dim=-1).numpy(), strict=True))
    return np.stack([found[index] for index in range(len(texts))])
