"""A text for tokens that came without one, so that words and answers can be cut out."""

from collections.abc import Sequence

import numpy as np

from diffmask_service.core.predictions import BoolArray, Int64Array
from diffmask_service.core.values import (
    ModelInput,
    TextInput,
    TokenInput,
    TokenizedText,
)


def spelled_offsets(
    tokens: Sequence[str], segments: Int64Array, is_special: BoolArray
) -> Int64Array:
    """Return where each token stands when those of a segment are put side by side.

    Args:
        tokens: The tokens as the vocabulary spells them.
        segments: `[tokens]` int64. 0 for the text, 1 for its pair.
        is_special: `[tokens]` bool. Tokens that belong to no text.

    Returns:
        `[tokens, 2]` int64. Start and end, code points, in the texts of `spelled_text`;
        0, 0 for special tokens.
    """
    offsets = np.zeros((len(tokens), 2), dtype=np.int64)
    starts = [0, 0]
    for position in np.flatnonzero(~is_special).tolist():
        segment = int(segments[position])
        end = starts[segment] + len(tokens[position])
        offsets[position] = starts[segment], end
        starts[segment] = end + 1  # a blank
    return offsets


def spelled_text(tokenized: TokenizedText) -> TextInput:
    """Return the tokens of each segment, with blanks between them.

    Args:
        tokenized: Tokens with the offsets of `spelled_offsets`.
    """
    text, text_pair = (
        " ".join(
            tokenized.texts[position]
            for position in np.flatnonzero(
                (tokenized.segments == segment) & ~tokenized.is_special
            )
        )
        for segment in (0, 1)
    )
    return TextInput(text=text, text_pair=text_pair or None)


def texts_of(
    inputs: Sequence[ModelInput], texts: Sequence[TokenizedText]
) -> list[TextInput]:
    """Return the inputs of a request, all as texts.

    Args:
        inputs: Texts, or tokens.
        texts: The tokens of each.
    """
    return [
        spelled_text(tokenized) if isinstance(each, TokenInput) else each
        for each, tokenized in zip(inputs, texts, strict=True)
    ]
