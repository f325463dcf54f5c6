"""Words of a text, with the tokens that lie in each."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unicodedata import category

import numpy as np

from diffmask_service.audit.report.reading import Explained

_MARK = "\N{COMBINING ACUTE ACCENT}"
# A letter or digit with marks upon it: many scripts write vowels as marks.
_LETTERS = rf"(?:\w{_MARK}*)+"
# Letters and digits, joined by a single apostrophe or hyphen; else one sign by itself.
_LINK = "['\N{RIGHT SINGLE QUOTATION MARK}-]"
_WORD = re.compile(rf"{_LETTERS}(?:{_LINK}{_LETTERS})*|[^\w\s]")
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word where it stands.

    Attributes:
        text: As written.
        segment: 0 for the text, 1 for its pair.
        start: Where it begins there, code points.
        end: Where it ends there, code points, exclusive.
        tokens: Positions of its tokens; none where the text was cut before it.
        score: The largest score of its tokens, in [0, 1]; 0 without any.
    """

    text: str
    segment: int
    start: int
    end: int
    tokens: tuple[int, ...]
    score: float

    @property
    def key(self) -> str:
        """What makes it the same word as another: capitals do not count."""
        return self.text.casefold()


def words_of(text: Explained) -> tuple[Word, ...]:
    """Return the words that the model read of a text; none where it was hashed."""
    return tuple(
        word
        for segment, written in enumerate((text.text, text.text_pair))
        if written is not None
        for word in _in_segment(text, written, segment)
        if word.tokens
    )


def _in_segment(text: Explained, written: str, segment: int) -> Iterator[Word]:
    is_here = (text.segments == segment) & ~text.is_special & (text.ends > text.starts)
    positions = np.flatnonzero(is_here)
    spans = [match.span() for match in _WORD.finditer(_with_one_mark(written))]
    places = _overlapping(spans, text, positions.tolist())
    for (start, end), tokens in zip(spans, places, strict=True):
        yield Word(
            text=written[start:end],
            segment=segment,
            start=start,
            end=end,
            tokens=tuple(tokens),
            score=float(text.scores[tokens].max()) if tokens else 0.0,
        )


def _with_one_mark(written: str) -> str:
    # To `re` neither combining marks nor joiners are letters. Places stay the same.
    if written.isascii():
        return written
    return "".join(
        _MARK if category(char)[0] == "M" or char in _JOINERS else char
        for char in written
    )


def _overlapping(
    spans: Sequence[tuple[int, int]], text: Explained, positions: Sequence[int]
) -> list[list[int]]:
    """Return for each span, both sorted by place, the tokens that lie in it."""
    starts, ends = text.starts.tolist(), text.ends.tolist()
    found: list[list[int]] = [[] for _ in spans]
    first = 0
    for position in positions:
        while first < len(spans) and spans[first][1] <= starts[position]:
            first += 1
        index = first
        while index < len(spans) and spans[index][0] < ends[position]:
            found[index].append(position)
            index += 1
    return found
