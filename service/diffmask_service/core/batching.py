"""Which waiting entries form the next run of the graph: policy alone, nothing moves.

One policy a device, behind one interface.

On a CPU texts run unpadded: one alone, or several of exactly the same length. Whoever
shares a run must not be able to tell, so grouping is allowed only where a group gives
the very same bits as each of its texts alone.

Measured for float32 arithmetic: a 6 x 384 BERT, plain and with fused attention, ONNX
Runtime 1.31 on one AVX-512 core, lengths of 3 to 64 tokens in groups of 2 to 8. In all
80 groups the logits, and the mean of every token in every state, were bitwise equal to
those of the same texts alone. A text of a group takes 0.34 of its time alone at 8
tokens (16 texts), 0.53 at 16 (8 texts), 0.73 at 32 (4 texts) and 0.91 at 64 (2 texts).
Dynamic 8-bit arithmetic scales activations by the largest value of the whole run, hence
never groups. Other processors may round otherwise, which is why the engine proves the
property at start and falls back to runs of one text.

On a GPU a run of one text leaves most of the chip idle: texts of about the same length
run together, padded to the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# Beyond it a group takes about as long as its texts one after the other.
GROUP_TOKENS = 128
# Narrowest bucket of lengths, tokens: below it padding costs less than a launch.
_SMALLEST_BUCKET_TOKENS = 8
# Buckets between one power of two and the next; four waste less than a quarter.
_BUCKETS_PER_OCTAVE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides whether two entries may share a run.

    Attributes:
        num_tokens: Length of the text, tokens, >= 1.
        fetches: Names of the outputs to compute, in order.
    """

    num_tokens: int
    fetches: tuple[str, ...]


class BatchPolicy(Protocol):
    """Chooses the entries of the next run."""

    def cut(self, waiting: Sequence[Shape]) -> tuple[int, ...]:
        """Choose the entries of the next run.

        The first entry always runs, so nobody is passed over for ever; entries further
        back may join it, in their order.

        Args:
            waiting: Shapes of the waiting entries, the most urgent first.

        Returns:
            Positions in `waiting`, ascending; empty when nothing waits.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpaddedBatches:
    """Texts of exactly the same length, without padding: the policy of a CPU.

    Attributes:
        max_group_tokens: Most tokens of a run with more than one text; 0 keeps every
            text alone.
    """

    max_group_tokens: int

    def cut(self, waiting: Sequence[Shape]) -> tuple[int, ...]:
        """Choose the first entry and those of the same shape, while they fit."""
        if not waiting:
            return ()
        first = waiting[0]
        room = max(1, self.max_group_tokens // first.num_tokens)
        alike = (i for i, shape in enumerate(waiting) if shape == first)
        return tuple(position for position, _ in zip(alike, range(room), strict=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedBatches:
    """Texts of one bucket of lengths, padded to the longest: the policy of a GPU.

    Attributes:
        max_batch_tokens: Most tokens of a run with more than one text, padding counted.
    """

    max_batch_tokens: int

    def cut(self, waiting: Sequence[Shape]) -> tuple[int, ...]:
        """Choose the first entry and those of its bucket, while they fit."""
        if not waiting:
            return ()
        bucket = bucket_tokens(waiting[0].num_tokens)
        chosen: list[int] = []
        longest = 0
        for position, shape in enumerate(waiting):
            is_alike = shape.fetches == waiting[0].fetches
            if not is_alike or bucket_tokens(shape.num_tokens) != bucket:
                continue
            longest = max(longest, shape.num_tokens)
            # Stopping here, not looking for a shorter one, keeps the order.
            if chosen and (len(chosen) + 1) * longest > self.max_batch_tokens:
                break
            chosen.append(position)
        return tuple(chosen)


def bucket_tokens(num_tokens: int) -> int:
    """Return the longest length of a text's bucket, tokens.

    Lengths up to 32 go by eights; beyond, each octave is parted in four. Within a
    bucket over 32 tokens, padding adds less than a quarter to any text.

    Args:
        num_tokens: Length of the text, tokens, >= 1.
    """
    octave = 1 << (num_tokens - 1).bit_length() >> 1
    width = max(_SMALLEST_BUCKET_TOKENS, octave // _BUCKETS_PER_OCTAVE)
    return -(-num_tokens // width) * width
