"""Texts as the arrays that a graph reads, padded on the right where lengths differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diffmask_service.core.predictions import Float32Array, Int64Array

Feeds: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text as the graph reads it.

    Attributes:
        input_ids: `[tokens]` int64. Vocabulary indices.
        token_type_ids: `[tokens]` int64. Segment indices.
        keep: `[tokens]` float32, 1 keeps a token's embedding and 0 replaces it by the
            baseline; None keeps all.
    """

    input_ids: Int64Array
    token_type_ids: Int64Array
    keep: Float32Array | None = None


def feed(rows: Sequence[Row], inputs: Sequence[str]) -> Feeds:
    """Return the inputs of a run.

    Args:
        rows: Texts, at least one; the shorter ones are padded on the right with
            vocabulary index 0, which no real token attends to.
        inputs: Names of the inputs that the graph takes.

    Returns:
        By name `[batch, tokens]`; to be read only.
    """
    feeds = _feed_one(rows[0]) if len(rows) == 1 else _feed_many(rows)
    return {name: feeds[name] for name in inputs}


def _feed_one(row: Row) -> Feeds:
    # Most runs on a CPU: nothing is copied, and what is always the same is kept.
    num_tokens = len(row.input_ids)
    keep = _ones(num_tokens, "float32") if row.keep is None else row.keep[np.newaxis]
    return {
        "input_ids": row.input_ids[np.newaxis],
        "attention_mask": _ones(num_tokens, "int64"),
        "token_type_ids": row.token_type_ids[np.newaxis],
        "keep": keep,
    }


def _feed_many(rows: Sequence[Row]) -> Feeds:
    shape = len(rows), max(len(row.input_ids) for row in rows)
    feeds: Feeds = {
        "input_ids": np.zeros(shape, dtype=np.int64),
        "attention_mask": np.zeros(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
        "keep": np.ones(shape, dtype=np.float32),
    }
    for place, row in enumerate(rows):
        here = place, slice(len(row.input_ids))
        feeds["input_ids"][here] = row.input_ids
        feeds["attention_mask"][here] = 1
        feeds["token_type_ids"][here] = row.token_type_ids
        if row.keep is not None:
            feeds["keep"][here] = row.keep
    return feeds


@lru_cache(maxsize=1024)
def _ones(num_tokens: int, dtype: str) -> NDArray[Any]:
    ones = np.ones((1, num_tokens), dtype=dtype)
    ones.flags.writeable = False
    return ones
