"""Batches: tokenised texts to padded tensors, texts of like length together."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffmask_training.records import Label

# Texts are sorted by length inside pools of this many batches: padding nearly vanishes,
# and which texts share a batch still changes with every epoch.
_BATCHES_A_POOL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One tokenised record.

    Attributes:
        input_ids: Vocabulary indices, special tokens included.
        token_type_ids: Segment indices, as many.
        label: What the model should say, or None where there is no label.
        scored: Positions of the tokens that a prediction is read from; empty where it
            is the whole text's.
        offsets: Start and end of each token in its text, code points.
        source: The text that `scored` tokens stand in.
    """

    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    label: Label | None = None
    scored: tuple[int, ...] = ()
    offsets: tuple[tuple[int, int], ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """Padded texts.

    Attributes:
        inputs: Model inputs by name, each `[batch, tokens]` int64, and `scored`, 1 for
            tokens that a prediction is read from.
        texts: The texts before padding.
    """

    inputs: dict[str, Tensor]
    texts: tuple[Encoding, ...]

    @property
    def attention_mask(self) -> Tensor:
        """`[batch, tokens]` int64, 1 for real tokens."""
        return self.inputs["attention_mask"]

    def rows(self, texts: Tensor) -> "TensorBatch":
        """Return some of the texts, `[rows]` int64 by index, as long as they are."""
        inputs = {name: value[texts] for name, value in self.inputs.items()}
        chosen = tuple(self.texts[index] for index in texts.tolist())
        return TensorBatch(inputs=inputs, texts=chosen)

    def to(self, device: torch.device) -> "TensorBatch":
        """Return them on a device."""
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return TensorBatch(inputs=inputs, texts=self.texts)


def shuffled_batches(
    encodings: Sequence[Encoding],
    *,
    batch_size: int,
    pad_id: int,
    generator: torch.Generator,
    num_texts: int | None = None,
) -> Iterator[TensorBatch]:
    """Yield texts in random batches of like length.

    Args:
        encodings: The texts.
        batch_size: Texts a batch; the last one may hold fewer.
        pad_id: Vocabulary index of the padding token.
        generator: Source of the order.
        num_texts: How many are drawn: none twice before every other was drawn as often;
            every one once when None.
    """
    order = _drawn(len(encodings), num_texts or len(encodings), generator)
    num_pooled = batch_size * _BATCHES_A_POOL
    for start in range(0, len(order), num_pooled):
        pool = order[start : start + num_pooled]
        pool.copy_(_by_length(encodings, pool))
    num_batches = math.ceil(len(order) / batch_size)
    for number in torch.randperm(num_batches, generator=generator).tolist():
        chosen = order[number * batch_size :][:batch_size].tolist()
        yield collate([encodings[i] for i in chosen], pad_id=pad_id)


def _drawn(num_held: int, num_drawn: int, generator: torch.Generator) -> Tensor:
    passes = math.ceil(num_drawn / num_held)
    orders = [torch.randperm(num_held, generator=generator) for _ in range(passes)]
    return torch.cat(orders)[:num_drawn]


def sorted_batches(
    encodings: Sequence[Encoding], *, batch_size: int, pad_id: int
) -> Iterator[TensorBatch]:
    """Yield every text once, shortest first; always the same batches."""
    order = _by_length(encodings, torch.arange(len(encodings)))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size].tolist()
        yield collate([encodings[i] for i in chosen], pad_id=pad_id)


def _by_length(encodings: Sequence[Encoding], indices: Tensor) -> Tensor:
    # Only lengths are kept, since an encoding may be made when it is asked for. Of
    # equal lengths the order stays.
    lengths = [len(encodings[i].input_ids) for i in indices.tolist()]
    return indices[torch.tensor(lengths).argsort(stable=True)]


def collate(encodings: Sequence[Encoding], *, pad_id: int) -> TensorBatch:
    """Pad texts on the right to the longest of them."""
    num_tokens = max(len(encoding.input_ids) for encoding in encodings)
    shape = (len(encodings), num_tokens)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    token_type_ids = torch.zeros(shape, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    scored = torch.zeros(shape, dtype=torch.long)
    for row, encoding in enumerate(encodings):
        length = len(encoding.input_ids)
        input_ids[row, :length] = torch.tensor(encoding.input_ids)
        token_type_ids[row, :length] = torch.tensor(encoding.token_type_ids)
        attention_mask[row, :length] = 1
        scored[row, list(encoding.scored)] = 1
    return TensorBatch(
        inputs={
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "scored": scored,
        },
        texts=tuple(encodings),
    )
