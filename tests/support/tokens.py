"""Tokenized texts, written down word by word."""

import numpy as np

from diffmask_service.core.values import TokenizedText


def tokenized(*segments: tuple[tuple[str, ...], ...]) -> TokenizedText:
    """Return `[CLS]`, each segment and a `[SEP]` behind it.

    Args:
        *segments: Words of each text, every word as its pieces; words stand with one
            blank between. None means one text of the words `a` and `b`.
    """
    texts, offsets, places, words = ["[CLS]"], [(0, 0)], [0], [-1]
    for segment, of_segment in enumerate(segments or ((("a",), ("b",)),)):
        done = 0
        for word, pieces in enumerate(of_segment):
            for piece in pieces:
                texts.append(piece)
                offsets.append((done, done + len(piece)))
                places.append(segment)
                words.append(word)
                done += len(piece)
            done += 1
        texts.append("[SEP]")
        offsets.append((0, 0))
        places.append(0)
        words.append(-1)
    return TokenizedText(
        input_ids=np.arange(len(texts)),
        token_type_ids=np.zeros(len(texts), dtype=np.int64),
        texts=tuple(texts),
        offsets=np.array(offsets, dtype=np.int64),
        segments=np.array(places, dtype=np.int64),
        word_index=np.array(words, dtype=np.int64),
        is_special=np.array([text.startswith("[") for text in texts]),
        is_truncated=False,
    )
