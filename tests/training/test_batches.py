from collections import Counter
from pathlib import Path

import torch

from diffmask_training.batches import (
    Encoding,
    TensorBatch,
    collate,
    shuffled_batches,
    sorted_batches,
)
from diffmask_training.classifier import Classifier
from diffmask_training.encoding import encode
from diffmask_training.records import Record


def _encodings(lengths: list[int]) -> list[Encoding]:
    return [
        Encoding(
            input_ids=(number + 1,) * length, token_type_ids=(0,) * length, label=number
        )
        for number, length in enumerate(lengths)
    ]


def _numbers(batch: TensorBatch) -> list[int]:
    labels = [text.label for text in batch.texts]
    return [label for label in labels if isinstance(label, int)]


def _shuffled(seed: int) -> list[list[int]]:
    batches = shuffled_batches(
        _encodings(list(range(1, 24))),
        batch_size=4,
        pad_id=0,
        generator=torch.Generator().manual_seed(seed),
    )
    return [_numbers(batch) for batch in batches]


def test_every_text_comes_once_an_epoch() -> None:
    assert sorted(text for batch in _shuffled(0) for text in batch) == list(range(23))


def test_order_follows_the_generator() -> None:
    assert _shuffled(0) == _shuffled(0)
    assert _shuffled(0) != _shuffled(1)


def test_texts_of_like_length_share_a_batch() -> None:
    for labels in _shuffled(2):
        assert max(labels) - min(labels) < 4


def test_sorted_batches_run_from_short_to_long() -> None:
    batches = list(sorted_batches(_encodings([5, 1, 3, 2, 4]), batch_size=2, pad_id=0))
    assert [_numbers(batch) for batch in batches] == [
        [1, 3],
        [2, 4],
        [0],
    ]


def test_padding_is_on_the_right_and_masked() -> None:
    batch = collate(_encodings([1, 3]), pad_id=9)
    assert batch.inputs["input_ids"].tolist() == [[1, 9, 9], [2, 2, 2]]
    assert batch.attention_mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_encoding_cuts_and_marks_pairs(classifier: Classifier, tmp_path: Path) -> None:
    del tmp_path
    pair = Record(text="good film", text_pair="bad plot", label=1)
    task = classifier.encoder.task
    encoded = encode([pair], classifier.tokenizer, 512, task=task)[0]
    assert encoded.token_type_ids == (0, 0, 0, 0, 1, 1, 1)
    assert encoded.label == 1
    text = Record(text="good film is good")
    cut = encode([text], classifier.tokenizer, 4, task=task)[0]
    assert len(cut.input_ids) == 4
    assert cut.label is None


def _drawn(num_texts: int | None, seed: int = 0) -> list[int]:
    batches = shuffled_batches(
        _encodings([2, 3, 4, 2, 3, 4, 2, 3, 4, 2]),
        batch_size=4,
        pad_id=0,
        generator=torch.Generator().manual_seed(seed),
        num_texts=num_texts,
    )
    return [number for batch in batches for number in _numbers(batch)]


def test_part_of_the_texts_is_drawn_without_repeats() -> None:
    assert len(_drawn(7)) == len(set(_drawn(7))) == 7
    assert set(_drawn(7)) != set(_drawn(7, seed=1))


def test_few_texts_are_drawn_about_equally_often() -> None:
    counts = Counter(_drawn(34))
    assert sum(counts.values()) == 34
    assert set(counts.values()) == {3, 4}


def test_every_text_is_drawn_once_unless_told_otherwise() -> None:
    assert sorted(_drawn(None)) == list(range(10))
    assert _drawn(None) == _drawn(10)
