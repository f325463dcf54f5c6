"""Texts with what the model says of them and what the probes make of its states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffmask_training.batches import Encoding, collate
from diffmask_training.classifier import Classifier
from diffmask_training.errors import CheckpointError
from diffmask_training.hard_concrete import HardConcreteShape, log_keep_probability
from diffmask_training.masking import HARD_MASK_THRESHOLD
from diffmask_training.metrics.complexity import kept_share
from diffmask_training.probes import Probe, ProbeKind

_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedText:
    """One text, its prediction and its gates.

    Attributes:
        encoding: The text.
        tokens: `[tokens]` The tokens as the vocabulary spells them.
        is_special: `[tokens]` bool. Tokens that the tokenizer put in.
        probabilities: `[labels]` float64. Of the unmasked text.
        gates: `[layers, tokens]` float32 in [0, 1] by kind of probe: the keep
            probabilities.
    """

    encoding: Encoding
    tokens: tuple[str, ...]
    is_special: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    gates: Mapping[ProbeKind, NDArray[np.float32]]

    @property
    def label(self) -> int:
        """The predicted label."""
        return int(self.probabilities.argmax())

    @property
    def words(self) -> NDArray[np.int64]:
        """`[words]` int64. Positions of the tokens that are not special."""
        return np.flatnonzero(~self.is_special)

    @property
    def score(self) -> NDArray[np.float64]:
        """`[tokens]` float64 in [0, 1]. Mean over states of the input gates."""
        score: NDArray[np.float64] = self.gates["input"].mean(axis=0, dtype=np.float64)
        return score

    def hard_masks(self, kind: ProbeKind) -> NDArray[np.bool_]:
        """Return which tokens each state keeps, `[layers, tokens]`."""
        masks: NDArray[np.bool_] = self.gates[kind] >= HARD_MASK_THRESHOLD
        return masks

    @property
    def score_mask(self) -> NDArray[np.bool_]:
        """`[tokens]` bool. The hard mask of the score."""
        mask: NDArray[np.bool_] = self.score >= HARD_MASK_THRESHOLD
        return mask


@torch.no_grad()
def explain_texts(
    classifier: Classifier,
    probes: Mapping[ProbeKind, Probe],
    encodings: Sequence[Encoding],
) -> tuple[ExplainedText, ...]:
    """Run every text once and read its gates off the states.

    Args:
        classifier: The frozen model.
        probes: By kind; none may be missing that is asked for later.
        encodings: The texts.

    Returns:
        One entry for each text, in the order given.

    Raises:
        CheckpointError: The classifier does not give one label to a text.
    """
    _check_task(classifier)
    tokenizer = classifier.tokenizer
    added = torch.tensor(added_ids(classifier))
    order = sorted(range(len(encodings)), key=lambda i: len(encodings[i].input_ids))
    explained: dict[int, ExplainedText] = {}
    for start in range(0, len(order), _BATCH_SIZE):
        indices = order[start : start + _BATCH_SIZE]
        chosen = [encodings[index] for index in indices]
        batch = collate(chosen, pad_id=tokenizer.pad_token_id)
        captured = classifier.encoder.capture(batch.inputs)
        probabilities = captured.logits.double().softmax(dim=-1).numpy()
        gates = {
            kind: keep_probabilities(probe, captured.hidden_states).numpy()
            for kind, probe in probes.items()
        }
        special = torch.isin(batch.inputs["input_ids"], added).numpy()
        for row, (index, encoding) in enumerate(zip(indices, chosen, strict=True)):
            length = len(encoding.input_ids)
            explained[index] = ExplainedText(
                encoding=encoding,
                tokens=tuple(tokenizer.convert_ids_to_tokens(list(encoding.input_ids))),
                is_special=special[row, :length],
                probabilities=probabilities[row],
                gates={kind: each[row, :, :length] for kind, each in gates.items()},
            )
    return tuple(explained[index] for index in range(len(encodings)))


def is_measurable(classifier: Classifier) -> bool:
    """Whether the classifier gives one label to a text.

    All that is measured here compares softmax probabilities of a text's labels.
    """
    return classifier.encoder.task.name == "text_classification"


def _check_task(classifier: Classifier) -> None:
    task = classifier.encoder.task.name
    if not is_measurable(classifier):
        raise CheckpointError(
            "explanations can be measured and refined for classifiers that give a text"
            f" one of two labels or more, not yet for {task.replace('_', ' ')}"
        )


def keep_probabilities(
    probe: Probe,
    hidden_states: Sequence[Tensor],
    shape: HardConcreteShape | None = None,
) -> Tensor:
    """Return the keep probability of every gate.

    Args:
        probe: Votes.
        hidden_states: `layers` tensors `[batch, tokens, hidden]`.
        shape: Of the votes' distribution; the usual one when None.

    Returns:
        `[batch, layers, tokens]` float32 in (0, 1). Of input gates, the product of the
        votes up to each state.
    """
    votes = torch.stack(
        [
            log_keep_probability(
                probe.gate_logits(hidden_states, index), shape or HardConcreteShape()
            )
            for index in range(probe.shape.num_states)
        ],
        dim=1,
    )
    return (votes.cumsum(dim=1) if probe.shape.kind == "input" else votes).exp()


def added_ids(classifier: Classifier) -> list[int]:
    """Return the ids of the tokens that a tokenizer puts around texts, or pads with.

    Unknown words and [MASK] are special to the library too, but stand for words.
    """
    tokenizer = classifier.tokenizer
    roles = ("bos", "eos", "cls", "sep", "pad")
    ids = {getattr(tokenizer, f"{role}_token_id") for role in roles}
    return sorted(ids - {None})


def kept_share_by_state(
    texts: Sequence[ExplainedText], kind: ProbeKind
) -> NDArray[np.float64]:
    """Return the share of all tokens that each state's hard masks keep, `[layers]`."""
    masks = [text.hard_masks(kind) for text in texts]
    keep = np.concatenate(masks, axis=1)[None]  # [1, layers, tokens of all texts]
    return kept_share(keep, np.ones(keep.shape[::2], dtype=np.int64))
