"""Batches: records to padded tensors, texts of like length together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from diffmask_training.records import Record

# Texts are sorted by length inside pools of this many batches: padding nearly vanishes,
# and which texts share a batch still changes with every epoch.
_BATCHES_A_POOL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One tokenised record.

    Attributes:
        input_ids: Vocabulary indices, special tokens included.
        token_type_ids: Segment indices, as many.
        label: Label index, or -1 where there is none.
    """

    input_ids: tuple[int, ...]
    token_type_ids: tuple[int, ...]
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBatch:
    """Padded texts.

    Attributes:
        inputs: Model inputs by name, each `[batch, tokens]` int64.
        labels: `[batch]` int64, -1 where there is none.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    @property
    def attention_mask(self) -> Tensor:
        """`[batch, tokens]` int64, 1 for real tokens."""
        return self.inputs["attention_mask"]

    def rows(self, texts: Tensor) -> "TensorBatch":
        """Return some of the texts, `[rows]` int64 by index, as long as they are."""
        inputs = {name: value[texts] for name, value in self.inputs.items()}
        return TensorBatch(inputs=inputs, labels=self.labels[texts])

    def to(self, device: torch.device) -> "TensorBatch":
        """Return them on a device."""
        inputs = {name: value.to(device) for name, value in self.inputs.items()}
        return TensorBatch(inputs=inputs, labels=self.labels.to(device))


def encode(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[Encoding]:
    """Tokenise records, cutting what is longer than `max_tokens` tokens."""
    encoded = tokenizer(
        [record.text for record in records],
        [record.text_pair or "" for record in records]
        if any(record.text_pair for record in records)
        else None,
        truncation=True,
        max_length=max_tokens,
        return_token_type_ids=True,
    )
    return [
        Encoding(
            input_ids=tuple(input_ids),
            token_type_ids=tuple(token_type_ids),
            label=-1 if record.label is None else record.label,
        )
        for record, input_ids, token_type_ids in zip(
            records, encoded["input_ids"], encoded["token_type_ids"], strict=True
        )
    ]


def shuffled_batches(
    encodings: Sequence[Encoding],
    *,
    batch_size: int,
    pad_id: int,
    generator: torch.Generator,
) -> Iterator[TensorBatch]:
    """Yield every text once in random batches of like length.

    Args:
        encodings: The texts.
        batch_size: Texts a batch; the last one may hold fewer.
        pad_id: Vocabulary index of the padding token.
        generator: Source of the order.
    """
    order = torch.randperm(len(encodings), generator=generator).tolist()
    pool = batch_size * _BATCHES_A_POOL
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        near = sorted(
            order[start : start + pool], key=lambda i: len(encodings[i].input_ids)
        )
        batches += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield collate([encodings[i] for i in batches[index]], pad_id=pad_id)


def sorted_batches(
    encodings: Sequence[Encoding], *, batch_size: int, pad_id: int
) -> Iterator[TensorBatch]:
    """Yield every text once, shortest first; always the same batches."""
    order = sorted(encodings, key=lambda encoding: len(encoding.input_ids))
    for start in range(0, len(order), batch_size):
        yield collate(order[start : start + batch_size], pad_id=pad_id)


def collate(encodings: Sequence[Encoding], *, pad_id: int) -> TensorBatch:
    """Pad texts on the right to the longest of them."""
    num_tokens = max(len(encoding.input_ids) for encoding in encodings)
    shape = (len(encodings), num_tokens)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    token_type_ids = torch.zeros(shape, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    for row, encoding in enumerate(encodings):
        length = len(encoding.input_ids)
        input_ids[row, :length] = torch.tensor(encoding.input_ids)
        token_type_ids[row, :length] = torch.tensor(encoding.token_type_ids)
        attention_mask[row, :length] = 1
    return TensorBatch(
        inputs={
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        },
        labels=torch.tensor([encoding.label for encoding in encodings]),
    )
