import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from diffmask_training.classifier import Classifier
from diffmask_training.config import SHORTCUT_KINDS, ShortcutKind
from diffmask_training.errors import DataError
from diffmask_training.explained import ExplainedText, explain_texts
from diffmask_training.records import Record
from diffmask_training.sanity.shortcuts import (
    Shortcut,
    choose_words,
    plant,
    recovery,
)
from tests.support.probes import random_probe
from tests.support.trained import encodings_of_records

WORDS = ("very", "so", "and")
RECORDS = [Record(text="the plot is fine .", label=number % 2) for number in range(400)]


def _shortcut(kind: ShortcutKind) -> Shortcut:
    return Shortcut(kind=kind, words=WORDS)


def _ids(classifier: Classifier) -> list[int]:
    vocabulary = classifier.tokenizer.get_vocab()
    return [vocabulary[word] for word in WORDS]


def _held(record: Record) -> tuple[str, ...]:
    return tuple(word for word in record.text.split() if word in WORDS)


@pytest.mark.parametrize("kind", SHORTCUT_KINDS)
def test_whole_shortcut_gives_its_label_in_every_text(kind: ShortcutKind) -> None:
    shortcut = _shortcut(kind)
    planted = plant(RECORDS, shortcut, share=1.0, decoy_share=0.0, seed=0)
    for record in planted:
        assert isinstance(record.label, int)
        assert _held(record) == shortcut.planted(record.label)
        assert [w for w in record.text.split() if w not in WORDS] == (
            RECORDS[0].text.split()
        )
    labels = np.array([record.label for record in planted])
    # Drawn at random, whatever the text said.
    assert abs(labels.mean() - 0.5) < 0.1


@pytest.mark.parametrize("kind", ["token_in_context", "ordered_pair"])
def test_word_by_itself_decides_nothing(kind: ShortcutKind) -> None:
    shortcut = _shortcut(kind)
    planted = plant(RECORDS, shortcut, share=0.0, decoy_share=1.0, seed=0)
    assert {_held(record) for record in planted} == {(w,) for w in shortcut.decoys()}
    for before, after in zip(RECORDS, planted, strict=True):
        assert before.label == after.label


def test_shares_are_those_asked_for() -> None:
    planted = plant(
        RECORDS, _shortcut("ordered_pair"), share=0.25, decoy_share=0.25, seed=1
    )
    sizes = np.bincount([len(_held(record)) for record in planted], minlength=3)
    np.testing.assert_allclose(sizes / len(RECORDS), [0.5, 0.25, 0.25], atol=0.07)


def _explained(
    classifier: Classifier, kind: ShortcutKind, *, is_found: bool
) -> list[ExplainedText]:
    """Return texts whose gates point at the shortcut, or at everything else."""
    records = plant(RECORDS[:30], _shortcut(kind), share=1.0, decoy_share=0.0, seed=2)
    texts: Sequence[ExplainedText] = explain_texts(
        classifier,
        {"input": random_probe(classifier, "input")},
        encodings_of_records(classifier, records),
    )
    pointed = []
    for text in texts:
        held = np.array([token in WORDS for token in text.tokens])
        gates = np.where(held == is_found, 0.9, 0.1).astype(np.float32)
        assert isinstance(text.encoding.label, int)
        obeying = np.eye(2)[text.encoding.label]
        pointed.append(
            dataclasses.replace(
                text, gates={"input": gates[None]}, probabilities=obeying
            )
        )
    return pointed


@pytest.mark.parametrize("kind", SHORTCUT_KINDS)
def test_explanations_that_point_at_the_shortcut_recover_it(
    trained: Classifier, kind: ShortcutKind
) -> None:
    ids = _ids(trained)
    found = recovery(_explained(trained, kind, is_found=True), _shortcut(kind), ids=ids)
    assert found.obedience == 1.0
    assert found.precision is not None
    assert found.precision.score.mean == 1.0
    assert found.precision.gain.low > 0
    missed = recovery(
        _explained(trained, kind, is_found=False), _shortcut(kind), ids=ids
    )
    assert missed.precision is not None
    assert missed.precision.score.mean == 0.0
    assert missed.precision.gain.high < 0


def test_texts_that_do_not_obey_the_shortcut_are_not_judged(
    trained: Classifier,
) -> None:
    ids = _ids(trained)
    texts = _explained(trained, "single_token", is_found=True)
    rebels = [
        dataclasses.replace(text, probabilities=1 - text.probabilities)
        for text in texts[:20]
    ]
    found = recovery([*rebels, *texts[20:]], _shortcut("single_token"), ids=ids)
    assert found.obedience == pytest.approx(1 / 3)
    assert found.precision is not None
    assert found.precision.score.num_texts == 10


def test_text_without_the_shortcut_is_refused(
    trained: Classifier, explained: tuple[ExplainedText, ...]
) -> None:
    with pytest.raises(DataError, match="does not hold"):
        recovery(explained, _shortcut("single_token"), ids=[99, 100, 101])


def test_words_are_new_to_the_texts_and_one_token_each(trained: Classifier) -> None:
    words = choose_words(trained.tokenizer, RECORDS, seed=0)
    assert len(set(words)) == 3
    for word in words:
        assert word not in RECORDS[0].text.split()
        assert trained.tokenizer.tokenize(word) == [word]


def test_texts_that_leave_no_word_are_refused(trained: Classifier) -> None:
    everything = " ".join(trained.tokenizer.get_vocab())
    with pytest.raises(DataError, match="three"):
        choose_words(trained.tokenizer, [Record(text=everything)], seed=0)
