"""Treebank sentences with the sentiment of each word, and words found in tokens."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nltk
from transformers import PreTrainedTokenizerBase

from diffmask_training.batches import Encoding
from diffmask_training.errors import DataError
from diffmask_training.sst import read_trees

# From the words of a sentence to their parts of speech.
Tag = Callable[[Sequence[str]], list[str]]

_BINARY = {0: 0, 1: 0, 3: 1, 4: 1}
_FIVE = {label: label for label in range(5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A labelled sentence.

    Attributes:
        words: Its words.
        sentiments: Of each word by itself, from 0 (very negative) to 4.
        label: Of the sentence, as the classifier counts its labels.
    """

    words: tuple[str, ...]
    sentiments: tuple[int, ...]
    label: int

    @property
    def text(self) -> str:
        """What the classifier reads."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSentence:
    """A sentence as tokens.

    Attributes:
        sentence: The sentence.
        encoding: Its tokens.
        words: For each token the index of its word, -1 for a special token.
    """

    sentence: Sentence
    encoding: Encoding
    words: tuple[int, ...]


def read_sentences(path: Path, *, num_labels: int) -> list[Sentence]:
    """Read the sentences of a gzipped treebank file.

    Args:
        path: The file.
        num_labels: 5 for the treebank's own, 2 for negative and positive without the
            neutral sentences.

    Raises:
        DataError: The file cannot be read, is malformed, or the classifier has another
            number of labels.
    """
    if num_labels not in {2, 5}:
        raise DataError(
            f"{path}: sentiment trees have 2 or 5 labels, the classifier {num_labels}"
        )
    label_by_class = _BINARY if num_labels == 2 else _FIVE
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    sentences = []
    for root, *phrases in read_trees(text, path):
        # Nodes come root first and from left to right, so leaves are in text order.
        leaves = [node for node in (root, *phrases) if " " not in node.text]
        if root.sentiment in label_by_class:
            sentences.append(
                Sentence(
                    words=tuple(leaf.text for leaf in leaves),
                    sentiments=tuple(leaf.sentiment for leaf in leaves),
                    label=label_by_class[root.sentiment],
                )
            )
    return sentences


def encode_sentences(
    sentences: Sequence[Sentence], tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[EncodedSentence]:
    """Tokenise sentences and find each token's word.

    Args:
        sentences: The sentences.
        tokenizer: A fast one.
        max_tokens: Longer sentences are cut.
    """
    encoded = tokenizer(
        [sentence.text for sentence in sentences],
        truncation=True,
        max_length=max_tokens,
        return_token_type_ids=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    return [
        EncodedSentence(
            sentence=sentence,
            encoding=Encoding(
                input_ids=tuple(encoded["input_ids"][row]),
                token_type_ids=tuple(encoded["token_type_ids"][row]),
                label=sentence.label,
            ),
            words=tuple(
                -1 if is_special else _word_at(sentence.text, end)
                for (_, end), is_special in zip(
                    encoded["offset_mapping"][row],
                    encoded["special_tokens_mask"][row],
                    strict=True,
                )
            ),
        )
        for row, sentence in enumerate(sentences)
    ]


def universal_tagger(directory: Path) -> Tag | None:
    """Return NLTK's tagger with universal tags, None where its data is not there.

    Args:
        directory: Holds `taggers/`, as NLTK lays out its data.
    """
    if not (directory / "taggers").is_dir():
        return None
    nltk.data.path.insert(0, str(directory))

    def tag(words: Sequence[str]) -> list[str]:
        return [label for _, label in nltk.pos_tag(list(words), tagset="universal")]

    return tag


def _word_at(text: str, end: int) -> int:
    # Words are joined by single spaces, and some tokenizers count the space in front of
    # a word as its first character; its last one is always its own.
    return text.count(" ", 0, end - 1)
