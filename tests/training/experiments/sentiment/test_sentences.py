import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from diffmask_training.classifier import Classifier
from diffmask_training.errors import DataError
from diffmask_training.experiments.sentiment.sentences import (
    encode_sentences,
    read_sentences,
    universal_tagger,
)

_TREES = """\
(3 (3 (4 Lovely) (2 film)) (2 .))
(2 (2 the) (1 plot))
"""


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    path = tmp_path / "dev.txt.gz"
    path.write_bytes(gzip.compress(_TREES.encode()))
    return path


def test_words_have_their_own_sentiments(trees: Path) -> None:
    first, second = read_sentences(trees, num_labels=5)
    assert (first.words, first.sentiments) == (("Lovely", "film", "."), (4, 2, 2))
    assert (first.label, second.label) == (3, 2)


def test_two_labels_leave_out_neutral_sentences(trees: Path) -> None:
    (only,) = read_sentences(trees, num_labels=2)
    assert (only.text, only.label) == ("Lovely film .", 1)


def test_other_numbers_of_labels_are_refused(trees: Path) -> None:
    with pytest.raises(DataError, match="the classifier 3"):
        read_sentences(trees, num_labels=3)


def test_pieces_of_a_word_are_its_own(classifier: Classifier, trees: Path) -> None:
    sentences = read_sentences(trees, num_labels=5)
    # "goodly" is unknown as a whole: good and ##ly.
    sentence = type(sentences[0])(
        words=("goodly", "film", "."), sentiments=(2, 2, 2), label=0
    )
    (encoded,) = encode_sentences([sentence], classifier.tokenizer, 16)
    assert encoded.words == (-1, 0, 0, 1, 2, -1)


def test_no_tagger_without_its_data(tmp_path: Path) -> None:
    found: Callable[..., object] | None = universal_tagger(tmp_path)
    assert found is None
