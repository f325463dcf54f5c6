"""Named entities of tagged words, and how far two taggings agree on them.

A dozen lines of our own: the library that people use for it, seqeval, had its last
release in 2020.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from diffmask_training.errors import MetricError


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A run of words that name one thing.

    Attributes:
        kind: What it is, the tag behind its prefix.
        first: Its first word.
        last: Its last word.
    """

    kind: str
    first: int
    last: int


def has_entities(labels: Sequence[str]) -> bool:
    """Return whether labels are BIO tags: `O`, and `B-` and `I-` before kinds."""
    kinds = [label for label in labels if label != "O"]
    return bool(kinds) and all(label[:2] in {"B-", "I-"} for label in kinds)


def entities(tags: Sequence[str]) -> frozenset[Entity]:
    """Return the entities of one text.

    Args:
        tags: BIO tags, one for each word.

    Source:
        Tjong Kim Sang and De Meulder 2003, section 2.1, and its evaluation: `B-` begins
        an entity, and so does `I-` where the word before is of none or of another kind.
    """
    starts = [
        position
        for position, (before, tag) in enumerate(itertools.pairwise(("O", *tags)))
        if tag != "O" and (tag.startswith("B-") or before[2:] != tag[2:])
    ]
    found = []
    for first, behind in itertools.pairwise((*starts, len(tags))):
        kind = tags[first][2:]
        rest = itertools.takewhile(lambda tag: tag != "O", tags[first:behind])
        found.append(Entity(kind=kind, first=first, last=first + len(list(rest)) - 1))
    return frozenset(found)


def entity_f1(left: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> float:
    """Return F1 over the entities of all texts, kind and both ends the same.

    Which side is the truth does not matter. Where neither has any, nothing is wrong.

    Args:
        left: BIO tags of each text.
        right: BIO tags of each text.

    Raises:
        MetricError: There are no texts, or not as many of either.
    """
    if not left or len(left) != len(right):
        raise MetricError(
            f"{len(left)} and {len(right)} tagged texts; as many of both are needed,"
            " and at least one"
        )
    pairs = [(entities(a), entities(b)) for a, b in zip(left, right, strict=True)]
    shared = sum(len(a & b) for a, b in pairs)
    total = sum(len(a) + len(b) for a, b in pairs)
    return 2 * shared / total if total else 1.0
