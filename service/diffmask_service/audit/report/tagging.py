"""Parts of speech by a tagger, where one is installed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NAME_BY_PREFIX = {
    "NN": "noun",
    "VB": "verb",
    "MD": "verb",
    "JJ": "adjective",
    "RB": "adverb",
    "WRB": "adverb",
    "PR": "pronoun",
    "WP": "pronoun",
    "EX": "pronoun",
    "DT": "determiner",
    "PDT": "determiner",
    "WDT": "determiner",
    "IN": "adposition",
    "CC": "conjunction",
    "CD": "number",
    "TO": "particle",
    "RP": "particle",
    "POS": "particle",
}


@dataclass(frozen=True, slots=True)
class EnglishTagger:
    """NLTK's perceptron tagger, with the tags of the Penn Treebank drawn together."""

    tagger: Any

    def __call__(self, words: Sequence[str]) -> list[str]:
        """Return the part of speech of each word."""
        return [
            "punctuation" if not any(map(str.isalnum, word)) else name_of(tag)
            for word, tag in self.tagger.tag(list(words))
        ]


def find_tagger() -> EnglishTagger | None:
    """Return a tagger if NLTK 3.9 or newer and its data are installed, else None."""
    try:
        from nltk.tag import PerceptronTagger  # noqa: PLC0415

        return EnglishTagger(PerceptronTagger(lang="eng"))
    # Older releases take no language, and load a pickle.
    except (ImportError, LookupError, TypeError):
        return None


def name_of(tag: str) -> str:
    """Return the part of speech that a tag of the Penn Treebank stands for."""
    for length in (3, 2):
        if tag[:length] in _NAME_BY_PREFIX:
            return _NAME_BY_PREFIX[tag[:length]]
    return "other"
