"""A reply with what it takes to read it: the texts, the labels, the threshold."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from diffmask_service.core.values import ExplainOptions, Explanation, Reply, TextInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What every renderer starts from.

    Attributes:
        inputs: The texts that were sent, in the order of the explanations.
        reply: The answer.
        labels: Label names in index order.
        hard_mask_threshold: A token is kept when its expected gate value is at least
            this, in [0, 1].
        options: What was asked for.
    """

    inputs: tuple[TextInput, ...]
    reply: Reply
    labels: tuple[str, ...]
    hard_mask_threshold: float
    options: ExplainOptions = field(default_factory=ExplainOptions)

    def items(self) -> Iterator[tuple[TextInput, Explanation]]:
        """Yield each text with its explanation."""
        return zip(self.inputs, self.reply.explanations, strict=True)

    def droppable_from(self, explanation: Explanation) -> tuple[str | None, ...]:
        """Return, for each unit, the first state at which the hard mask drops it.

        Among the states of the reply, in their order; None for a unit that all of them
        keep. Empty when the explanation has no input gates.
        """
        if explanation.input_gates is None:
            return ()
        is_dropped = explanation.input_gates < self.hard_mask_threshold
        padded = np.vstack([is_dropped, np.ones_like(is_dropped[:1])])
        return tuple(
            (*self.reply.states, None)[index] for index in padded.argmax(axis=0)
        )


def printable(text: str) -> str:
    """Return a text in which nothing acts on a terminal or turns the reading order.

    White space becomes a blank; control characters, bidirectional overrides and
    unassigned code points become the replacement character.
    """
    return "".join(
        " " if char.isspace() else char if _is_visible(char) else "\ufffd"
        for char in text
    )


def _is_visible(char: str) -> bool:
    # Joiners are invisible by design, and emoji and several scripts need them.
    return char in "\u200c\u200d" or unicodedata.category(char)[0] != "C"
