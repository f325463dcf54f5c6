"""Exact erasure: the smallest subsets of words under which a property holds.

All subsets of one size are run before any of the next, so the first size with a hit is
the minimum. A GRU reads its words one after another, and subsets that begin alike share
their runs: a subset's state is kept as it was right after its last kept word, and the
subsets of the next size go on from there. That costs about one step of the GRU for each
subset and each word behind its last one. No subset can be left out without running it:
a GRU is not monotone in its words, so what fails for a subset says nothing about the
subsets that hold it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffmask_training.experiments.subsets.classifier import GruClassifier

# From `[subsets, labels]` float32 logits to `[subsets]` bool.
Property = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """The smallest subsets of one text.

    Attributes:
        size: Words in each of them. When there are none, the search was given up: no
            subset has fewer words than this.
        subsets: `[found, tokens]` bool. All of that size under which the property
            holds; none when the search was given up.
    """

    size: int
    subsets: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subsets:
    """Subsets that are alike in their last kept word.

    Attributes:
        keeps: `[subsets]` int64. Bit i is set where word i is kept.
        states: `[subsets, hidden]` float32. The GRU's.
    """

    keeps: Tensor
    states: Tensor

    def joined(self, others: "_Subsets") -> "_Subsets":
        """Return these and others."""
        return _Subsets(
            keeps=torch.cat([self.keeps, others.keeps]),
            states=torch.cat([self.states, others.states]),
        )


@torch.no_grad()
def minimum_subsets(
    model: GruClassifier, words: Tensor, holds: Property, *, max_subsets: int
) -> Minimum:
    """Return all smallest subsets of a text's words under which a property holds.

    Args:
        model: The frozen classifier.
        words: `[tokens, hidden]` float32. The text's word vectors, at most 62 of them.
        holds: The property of the logits. All words together should have it.
        max_subsets: The search is given up before a size with more subsets than this.
    """
    search = _Search(model, words)
    level = search.nothing_kept()
    size = 0
    while True:
        found = search.finished(level)
        hits = found.keeps[holds(model.head(found.states))]
        num_next = math.comb(len(words), size + 1)
        if len(hits) or size == len(words) or num_next > max_subsets:
            is_given_up = not len(hits)
            return Minimum(
                size=size + 1 if is_given_up else size,
                subsets=_as_masks(hits, len(words)),
            )
        level = search.grown(level)
        size += 1


class _Search:
    """One text under one model.

    A level holds all subsets of one size by their last kept word: entry 0 those that
    keep none, entry i + 1 those whose last is word i.
    """

    def __init__(self, model: GruClassifier, words: Tensor) -> None:
        weight_read, weight_own, bias_read, bias_own = model.gru.all_weights[0]
        masked = torch.zeros_like(words[:1])
        self.num_words = len(words)
        # What a word adds to the GRU's own terms is the same in every subset.
        self.read = (
            torch.cat([words, masked]) @ weight_read.T + bias_read
        )  # [tokens + 1, 3 * hidden]
        self.weight, self.bias = weight_own.T, bias_own
        self.nothing = _Subsets(
            keeps=torch.zeros(0, dtype=torch.int64),
            states=torch.zeros(0, model.gru.hidden_size),
        )

    def nothing_kept(self) -> list[_Subsets]:
        """Return the level of size 0."""
        start = _Subsets(
            keeps=torch.zeros(1, dtype=torch.int64),
            states=torch.zeros(1, self.nothing.states.shape[1]),
        )
        return [start, *[self.nothing] * self.num_words]

    def grown(self, level: Sequence[_Subsets]) -> list[_Subsets]:
        """Return the level of the next size."""
        following = [self.nothing]
        smaller = self.nothing
        for position in range(self.num_words):
            smaller = smaller.joined(level[position])
            following.append(
                _Subsets(
                    keeps=smaller.keeps | (1 << position),
                    states=self._step(smaller.states, position),
                )
            )
            smaller = self._skip(smaller)
        return following

    def finished(self, level: Sequence[_Subsets]) -> _Subsets:
        """Return all subsets of a level with their states at the end of the text."""
        running = level[0]
        for entries in level[1:]:
            running = self._skip(running).joined(entries)
        return running

    def _skip(self, subsets: _Subsets) -> _Subsets:
        return _Subsets(keeps=subsets.keeps, states=self._step(subsets.states, -1))

    def _step(self, states: Tensor, word: int) -> Tensor:
        # The equations of torch.nn.GRU, on the rows of its stacked weights.
        reset, update, new = self.read[word].chunk(3)
        own_reset, own_update, own_new = (states @ self.weight + self.bias).chunk(3, -1)
        update = torch.sigmoid(update + own_update)
        new = torch.tanh(new + torch.sigmoid(reset + own_reset) * own_new)
        return new + update * (states - new)


def _as_masks(keeps: Tensor, num_words: int) -> Tensor:
    return (keeps.unsqueeze(-1) >> torch.arange(num_words)) & 1 == 1
