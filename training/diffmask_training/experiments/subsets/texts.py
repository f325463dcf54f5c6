"""Sentences as word indices, padded."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffmask_training.records import Record

_UNKNOWN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Labelled texts.

    Attributes:
        ids: `[batch, tokens]` int64. Words; 0 for those without a vector, and at
            padding.
        attention_mask: `[batch, tokens]` int64, 1 for real tokens, which come first.
        labels: `[batch]` int64.
    """

    ids: Tensor
    attention_mask: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> "Texts":
        """Return some of the texts, no wider than the longest of them."""
        mask = self.attention_mask[rows]
        width = int(mask.sum(dim=-1).max())
        return Texts(
            ids=self.ids[rows, :width],
            attention_mask=mask[:, :width],
            labels=self.labels[rows],
        )

    @property
    def lengths(self) -> Tensor:
        """`[batch]` int64. Real tokens of each text."""
        return self.attention_mask.sum(dim=-1)


def make_vocabulary(records: Sequence[Record], *, min_count: int) -> dict[str, int]:
    """Return an index from 1 for every word that occurs often enough.

    Args:
        records: Texts whose words are split by single spaces.
        min_count: Words that occur less often get none.
    """
    counts = Counter(word for record in records for word in _words(record))
    frequent = sorted(word for word, count in counts.items() if count >= min_count)
    return {word: index for index, word in enumerate(frequent, start=1)}


def make_texts(records: Sequence[Record], vocabulary: Mapping[str, int]) -> Texts:
    """Return records as indices.

    Args:
        records: Labelled texts.
        vocabulary: Index of each word, from 1.
    """
    rows = [
        torch.tensor([vocabulary.get(word, _UNKNOWN) for word in _words(record)])
        for record in records
    ]
    lengths = torch.tensor([len(row) for row in rows])
    return Texts(
        ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
        attention_mask=(torch.arange(int(lengths.max())) < lengths[:, None]).long(),
        labels=torch.tensor([record.label for record in records]),
    )


def batches_of_like_length(
    texts: Texts, batch_size: int, generator: torch.Generator
) -> Iterator[Texts]:
    """Yield all texts once, those of about the same length together, in random order.

    Args:
        texts: The texts.
        batch_size: Texts in each batch but the last.
        generator: Chooses the order of the batches, and which of equals go together.
    """
    noise = torch.rand(len(texts), generator=generator)
    order = (texts.lengths + noise).argsort()
    parts = torch.split(order, batch_size)
    for index in torch.randperm(len(parts), generator=generator).tolist():
        yield texts[parts[index]]


def _words(record: Record) -> list[str]:
    return record.text.lower().split(" ")
