"""The counting task: are there more of one digit than of another?

Source: De Cao et al. 2020, section 3.1 and appendix C.1. That the digits of the query
make up half of a sequence, and that lengths are even, is from the authors' code.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_DIGITS = 10
MAX_TOKENS = 10
_QUERY_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """Questions and their answers.

    Attributes:
        queries: `[batch, 2]` int64. Two different digits.
        digits: `[batch, tokens]` int64. The sequence; 0 at padding.
        attention_mask: `[batch, tokens]` int64, 1 for real tokens, which come first.
        labels: `[batch]` int64. 1 where the first digit of the query occurs more often
            than the second.
    """

    queries: Tensor
    digits: Tensor
    attention_mask: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.labels)

    def __getitem__(self, rows: Tensor | slice) -> "Items":
        """Return some of the items."""
        return Items(
            queries=self.queries[rows],
            digits=self.digits[rows],
            attention_mask=self.attention_mask[rows],
            labels=self.labels[rows],
        )


def make_items(queries: Tensor, digits: Tensor, lengths: Tensor) -> Items:
    """Answer questions.

    Args:
        queries: `[batch, 2]` int64. Two different digits.
        digits: `[batch, tokens]` int64. Digits; those behind the length do not count.
        lengths: `[batch]` int64. Real tokens of each, at least 1.
    """
    mask = (torch.arange(digits.shape[1]) < lengths.unsqueeze(-1)).long()
    counts = [
        ((digits == queries[:, which : which + 1]) & mask.bool()).sum(dim=-1)
        for which in (0, 1)
    ]
    return Items(
        queries=queries,
        digits=digits * mask,
        attention_mask=mask,
        labels=(counts[0] > counts[1]).long(),
    )


def draw_items(num_items: int, generator: torch.Generator) -> Items:
    """Draw questions at random and answer them.

    Args:
        num_items: How many.
        generator: Source of randomness.
    """
    orders = torch.rand(num_items, NUM_DIGITS, generator=generator).argsort(dim=-1)
    queries = orders[:, :2]
    weights = torch.full((num_items, NUM_DIGITS), (1 - _QUERY_SHARE) / (NUM_DIGITS - 2))
    weights.scatter_(1, queries, _QUERY_SHARE / 2)
    digits = torch.multinomial(
        weights, MAX_TOKENS, replacement=True, generator=generator
    )
    lengths = torch.randint(1, MAX_TOKENS + 1, (num_items,), generator=generator)
    return make_items(queries, digits, lengths)


def is_queried(items: Items) -> Tensor:
    """Return where one of the query's digits stands, `[batch, tokens]` bool."""
    found = (items.digits.unsqueeze(-1) == items.queries.unsqueeze(1)).any(dim=-1)
    return found & items.attention_mask.bool()


def true_attribution(items: Items) -> Tensor:
    """Return what the answer rests on: all the query's digits, each as much.

    Args:
        items: Each holds one of its query's digits at least.

    Returns:
        `[batch, tokens]` float32. Sums to 1 over the tokens.
    """
    found = is_queried(items).float()
    return found / found.sum(dim=-1, keepdim=True)
