"""What people marked in a text, from the ways in which data sets write it.

- a list of `[start, end]` in code points of the text, the end exclusive;
- a list with 0 or 1 for each word between blanks;
- a list of phrases, or one phrase, of which every place in the text is marked; places
  within longer words only where there are no others.

Only the first text of a pair can be marked.
"""

import re
from typing import Any

import msgspec
import numpy as np

from diffmask_service.audit.report.reading import Explained
from diffmask_service.core.predictions import BoolArray

_MARKS = (0, 1)


def read_rationale(text: Explained) -> BoolArray | None:
    """Return which tokens people marked, `[tokens]` bool.

    A token is marked when it shares a character with what is.

    Args:
        text: The text with its rationale.

    Returns:
        None where there is no rationale or it is written in none of the ways above.
    """
    if text.rationale is None or text.text is None:
        return None
    spans = _spans(text.rationale, text.text)
    if spans is None:
        return None
    marked = np.zeros(len(text.scores), dtype=np.bool_)
    for start, end in spans:
        marked |= (text.starts < end) & (text.ends > start)
    return marked & can_be_marked(text)


def can_be_marked(text: Explained) -> BoolArray:
    """Return which tokens people had before them to mark, `[tokens]` bool."""
    found: BoolArray = (text.segments == 0) & ~text.is_special
    return found


def _spans(written: str, text: str) -> list[tuple[int, int]] | None:
    try:
        value: Any = msgspec.json.decode(written)
    except msgspec.DecodeError:
        value = written
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return None
    words = [match.span() for match in re.finditer(r"\S+", text)]
    if value and all(each in _MARKS for each in value) and len(value) == len(words):
        return [span for span, mark in zip(words, value, strict=True) if mark]
    if all(isinstance(each, str) for each in value):
        return [span for phrase in value for span in _places(phrase, text)]
    if all(_is_span(each) for each in value):
        return [(int(start), int(end)) for start, end in value]
    return None


def _is_span(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, int) for each in value)
    )


def _places(phrase: str, text: str) -> list[tuple[int, int]]:
    if not phrase.strip():
        return []
    written = re.escape(phrase.strip())
    # Scripts without blanks write every phrase within what counts as one word.
    for pattern in (rf"(?<!\w){written}(?!\w)", written):
        found = [match.span() for match in re.finditer(pattern, text, re.IGNORECASE)]
        if found:
            return found
    return []
