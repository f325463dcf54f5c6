"""Gates by kind of token: where each kind can be dropped, and which states need it.

Kinds are all tokens, each special token, the two texts of a pair, parts of speech and
what people marked. A kind's figure is its mean within a text, then the mean over texts,
so that long texts count no more than short ones and intervals are over texts.

Source: De Cao et al. 2020, figures 4, 5 and 7, for any data.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from diffmask_service.audit.report.estimates import Estimate, Mean
from diffmask_service.audit.report.rationales import can_be_marked, read_rationale
from diffmask_service.audit.report.reading import Audit, Explained
from diffmask_service.audit.report.words import words_of
from diffmask_service.core.predictions import BoolArray

# Given the words of a text, the part of speech of each.
Tagger = Callable[[list[str]], list[str]]
# Texts that are tagged; more change the figures little and take long.
MAX_TAGGED_TEXTS = 5000
# Its multiples lie evenly over the data, and with no period that its order may have.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Gates of one kind of token.

    Attributes:
        name: The kind.
        num_texts: Texts that have such tokens.
        num_tokens: Such tokens in all.
        droppable: `[layers]`: share of them that the input gates drop by each state.
        input_gates: `[layers]`: mean expected value.
        hidden_gates: `[layers]`: mean expected value.
        states_kept: How many states' input gates keep one of them, mean.
        hidden_kept: How many states' hidden gates keep one of them, mean.
    """

    name: str
    num_texts: int
    num_tokens: int
    droppable: tuple[Estimate, ...]
    input_gates: tuple[Estimate, ...]
    hidden_gates: tuple[Estimate, ...]
    states_kept: Estimate
    hidden_kept: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Profiles by what the kinds are kinds of.

    Attributes:
        all: Of all tokens, special ones counted.
        by_label: Of all tokens of the texts with each predicted label.
        by_segment: Of the tokens of each text of a pair, and of special tokens.
        by_tag: By part of speech, with special tokens apart; empty without a tagger.
        by_mark: Of what people marked and of the rest of those texts; empty without
            rationales.
        num_tagged: Texts that were tagged; hashed ones are not.
    """

    all: tuple[Profile, ...]
    by_label: tuple[Profile, ...]
    by_segment: tuple[Profile, ...]
    by_tag: tuple[Profile, ...]
    by_mark: tuple[Profile, ...]
    num_tagged: int


@dataclass(slots=True)
class _Sums:
    num_tokens: int = 0
    droppable: Mean = field(default_factory=Mean)
    input_gates: Mean = field(default_factory=Mean)
    hidden_gates: Mean = field(default_factory=Mean)
    states_kept: Mean = field(default_factory=Mean)
    hidden_kept: Mean = field(default_factory=Mean)

    def add(self, text: Explained, which: BoolArray, *, threshold: float) -> None:
        inputs, hidden = text.input_gates[:, which], text.hidden_gates[:, which]
        limit = np.float32(threshold)
        kept = (inputs >= limit).mean(axis=1)
        self.num_tokens += inputs.shape[1]
        self.droppable.add(1 - kept)
        self.input_gates.add(inputs.mean(axis=1, dtype=np.float64))
        self.hidden_gates.add(hidden.mean(axis=1, dtype=np.float64))
        self.states_kept.add(kept.sum())
        self.hidden_kept.add((hidden >= limit).mean(axis=1).sum())

    def figures(self, name: str, *, num_states: int) -> Profile | None:
        states_kept = self.states_kept.estimate(low=0, high=num_states)
        hidden_kept = self.hidden_kept.estimate(low=0, high=num_states)
        if states_kept is None or hidden_kept is None:
            return None
        return Profile(
            name=name,
            num_texts=self.droppable.num,
            num_tokens=self.num_tokens,
            droppable=self.droppable.estimates(low=0, high=1),
            input_gates=self.input_gates.estimates(low=0, high=1),
            hidden_gates=self.hidden_gates.estimates(low=0, high=1),
            states_kept=states_kept,
            hidden_kept=hidden_kept,
        )


class ProfileCollector:
    """Collects profiles.

    Args:
        audit: Whose texts they are.
        tagger: Names parts of speech; None for none.
    """

    def __init__(self, audit: Audit, tagger: Tagger | None) -> None:
        self._audit = audit
        self._tagger = tagger
        self._num_tagged = 0
        self._tagged_share = MAX_TAGGED_TEXTS / int(audit.summary["num_rows"])
        self._sums: dict[str, dict[str, _Sums]] = {
            "all": {},
            "label": {},
            "segment": {},
            "tag": {},
            "mark": {},
        }

    def add(self, text: Explained) -> None:
        """Count one text."""
        for group, name, which in self._kinds(text):
            if which.any():
                sums = self._sums[group].setdefault(name, _Sums())
                sums.add(text, which, threshold=self._audit.threshold)

    def figures(self) -> Profiles:
        """Return what was collected; kinds of few states first within each group."""

        def of(group: str) -> tuple[Profile, ...]:
            found = (
                sums.figures(name, num_states=len(self._audit.states))
                for name, sums in self._sums[group].items()
            )
            return tuple(each for each in found if each is not None)

        return Profiles(
            all=of("all"),
            by_label=tuple(sorted(of("label"), key=lambda each: each.name)),
            by_segment=of("segment"),
            by_tag=tuple(sorted(of("tag"), key=lambda each: -each.states_kept.value)),
            by_mark=of("mark"),
            num_tagged=self._num_tagged,
        )

    def _kinds(self, text: Explained) -> Iterator[tuple[str, str, BoolArray]]:
        everything = np.ones(len(text.scores), dtype=np.bool_)
        yield "all", "all texts", everything
        if self._audit.has_classes and text.prediction is not None:
            yield "label", text.prediction, everything
        if (text.segments == 1).any():
            for segment, name in enumerate(("first text", "second text")):
                yield (
                    "segment",
                    name,
                    (text.segments == segment) & ~text.is_special,
                )
            yield "segment", "special tokens", text.is_special
        marked = read_rationale(text)
        if marked is not None and marked.any():
            yield "mark", "marked by people", marked
            yield "mark", "not marked", ~marked & can_be_marked(text)
        is_drawn = text.row * _GOLDEN_RATIO % 1 < self._tagged_share
        if is_drawn and text.text is not None:
            yield from self._tags(text)

    def _tags(self, text: Explained) -> Iterator[tuple[str, str, BoolArray]]:
        if self._tagger is None:
            return
        self._num_tagged += 1
        kinds: dict[str, BoolArray] = {}

        def mark(name: str, position: int) -> None:
            kinds.setdefault(name, np.zeros(len(text.scores), np.bool_))[position] = (
                True
            )

        words = words_of(text)
        tags = self._tagger([word.text for word in words])
        for word, tag in zip(words, tags, strict=True):
            for position in word.tokens:
                mark(tag, position)
        for position in np.flatnonzero(text.is_special).tolist():
            mark("special" if text.tokens is None else text.tokens[position], position)
        for name, which in kinds.items():
            yield "tag", name, which
