"""How long tokens are kept, by what kind of token they are: figures 4 and 5."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from diffmask_training.experiments.sentiment.masks import ProbeRun
from diffmask_training.experiments.sentiment.sentences import EncodedSentence, Tag

# Every sentence starts and ends with a special token.
FIRST_SPECIAL, LAST_SPECIAL = "[CLS]", "[SEP]"


def by_sentiment(
    run: ProbeRun, sentences: Sequence[EncodedSentence]
) -> dict[str, dict[str, float]]:
    """Return the share of states that keep tokens, by the sentiment of their word.

    Args:
        run: Of a probe.
        sentences: Of that run.
    """
    return _grouped(
        run,
        sentences,
        [[str(label) for label in item.sentence.sentiments] for item in sentences],
        with_specials=False,
    )


def by_part_of_speech(
    run: ProbeRun, sentences: Sequence[EncodedSentence], tag: Tag
) -> dict[str, dict[str, float]]:
    """Return the share of states that keep tokens, by their word's part of speech.

    Special tokens are groups of their own.

    Args:
        run: Of a probe.
        sentences: Of that run.
        tag: Finds the parts of speech.
    """
    tags = [tag(item.sentence.words) for item in sentences]
    return _grouped(run, sentences, tags, with_specials=True)


def first_token_share(run: ProbeRun) -> float:
    """Return how often no token is kept more surely than the first at the last state.

    A tie counts, as of gates that are open as far as float32 can tell.

    Args:
        run: Of a hidden probe.
    """
    last = [keep[-1] for keep in run.keep_probability]
    return float(np.mean([state[0] >= state.max() for state in last]))


def _grouped(
    run: ProbeRun,
    sentences: Sequence[EncodedSentence],
    names: Sequence[Sequence[str]],
    *,
    with_specials: bool,
) -> dict[str, dict[str, float]]:
    shares: Mapping[str, list[float]] = defaultdict(list)
    for item, keep, of_words in zip(
        sentences, run.keep_probability, names, strict=True
    ):
        # Expected share of the states that would keep the token.
        for position, (word, kept) in enumerate(
            zip(item.words, keep.mean(axis=0), strict=True)
        ):
            if word >= 0:
                shares[of_words[word]].append(float(kept))
            elif with_specials:
                name = FIRST_SPECIAL if position == 0 else LAST_SPECIAL
                shares[name].append(float(kept))
    return {
        name: {
            "mean": float(np.mean(values)),
            "std": float(np.std(values)),
            "num_tokens": len(values),
        }
        for name, values in sorted(shares.items())
    }
