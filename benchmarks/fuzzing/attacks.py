"""Whole calls with spoilt messages and hostile texts."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fuzzing.methods import (
    EXPLAIN_METHOD,
    INFER_METHOD,
    Method,
    text_tensor,
    write_infer,
)
from benchmarks.fuzzing.mutations import mutate
from benchmarks.fuzzing.texts import draw_hostile_texts, write_request

# As many as the server works on at a time, unless told otherwise.
_MOST_IN_STREAM = 16
_HOSTILE_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One call.

    Attributes:
        method: Which.
        messages: What it sends; several for a method that takes a stream.
    """

    method: Method
    messages: Sequence[bytes]


def draw_attacks(
    methods: Sequence[Method], chance: random.Random, *, num_messages: int
) -> Iterator[Attack]:
    """Yield calls that hold so many messages in all.

    Args:
        methods: What is called.
        chance: Source of chance.
        num_messages: How many.
    """
    while num_messages > 0:
        if chance.random() < _HOSTILE_SHARE:
            method, messages = _draw_hostile(chance)
        else:
            method = chance.choice(methods)
            most = 1 if method.read_status is None else _MOST_IN_STREAM
            messages = [
                _draw_message(method, chance) for _ in range(min(most, num_messages))
            ]
        num_messages -= len(messages)
        yield Attack(method=method, messages=messages)


def _draw_hostile(chance: random.Random) -> tuple[Method, Sequence[bytes]]:
    texts = draw_hostile_texts(chance)
    if chance.random() < 0.5:
        explains = chance.random() < 0.5
        return EXPLAIN_METHOD, [write_request(texts, explains=explains)]
    is_raw = chance.random() < 0.5
    outputs = chance.choice((["logits"], []))
    return INFER_METHOD, [
        write_infer(text_tensor(texts), is_raw=is_raw, outputs=outputs)
    ]


def _draw_message(method: Method, chance: random.Random) -> bytes:
    message = chance.choice(method.seeds)
    for _ in range(chance.choice((1, 1, 2, 3))):
        message = mutate(message, chance)
    return message
