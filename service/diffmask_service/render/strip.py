"""A text with its units coloured by their aggregate score, for the web page."""

from collections.abc import Iterator

import numpy as np

from diffmask_service.core.predictions import Float32Array, Units
from diffmask_service.core.values import Explanation, TextInput
from diffmask_service.render.markup import Html, element, join
from diffmask_service.render.report import printable

# Where light ink begins to stand out better than dark ink, in either colour scheme.
_DEEP = 0.58


def strip(text: TextInput, explanation: Explanation) -> Html:
    """Return one paragraph for each segment of a text.

    What no unit covers stays uncoloured: blanks, what was cut off, what is not among
    the top k. Special tokens have no place in the text and are left to the maps.
    """
    segments = [text.text] if text.text_pair is None else [text.text, text.text_pair]
    units, scores = explanation.units, explanation.scores
    return join(
        *(
            element(
                "p",
                printable(segment)
                if units is None or scores is None
                else join(*_pieces(segment, units, scores, index)),
                cls="strip",
            )
            for index, segment in enumerate(segments)
        )
    )


def shaded(
    name: str, text: str, value: float, *, cls: str = "", title: str = ""
) -> Html:
    """Return an element whose ground has the colour of a value in [0, 1]."""
    classes = f"shade {'deep ' if value > _DEEP else ''}{cls}".strip()
    attributes = {"style": f"--p:{value:.4f}"}
    if title:
        attributes["title"] = title
    return element(name, text, cls=classes, attributes=attributes)


def _pieces(
    text: str, units: Units, scores: Float32Array, segment: int
) -> Iterator[str]:
    is_here = (units.segments == segment) & ~units.is_special
    done = 0
    for index in sorted(np.flatnonzero(is_here), key=lambda i: int(units.starts[i])):
        start, end = int(units.starts[index]), int(units.ends[index])
        if start < done:
            continue
        yield printable(text[done:start])
        score = float(scores[index])
        yield shaded(
            "span", printable(text[start:end]), score, title=f"score {score:.4f}"
        )
        done = end
    yield printable(text[done:])
