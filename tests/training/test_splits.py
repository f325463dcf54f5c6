from pathlib import Path

import pytest

from diffmask_training.config import DataConfig
from diffmask_training.errors import DataError
from diffmask_training.splits import read_splits
from tests.support.checkpoint import write_texts

LABELS = ("negative", "positive")


def test_one_file_is_split_without_overlap(texts: Path) -> None:
    config = DataConfig(data=texts.parent, train=Path(texts.name))
    splits = read_splits(config, LABELS)
    sizes = [len(part) for part in (splits.train, splits.validation, splits.test)]
    assert sizes == [96, 12, 12]
    assert read_splits(config, LABELS) == splits


def test_named_files_are_taken_whole(texts: Path) -> None:
    write_texts(texts.parent / "other.jsonl", num_texts=7)
    config = DataConfig(
        data=texts.parent,
        train=Path(texts.name),
        validation=Path("other.jsonl"),
        test=Path("other.jsonl"),
    )
    splits = read_splits(config, LABELS)
    assert len(splits.train) == 120
    assert len(splits.validation) == len(splits.test) == 7


def test_too_few_texts_to_set_aside_are_refused(texts: Path) -> None:
    write_texts(texts, num_texts=5)
    with pytest.raises(DataError, match="too few to set any aside; name --validation"):
        read_splits(DataConfig(data=texts.parent, train=Path(texts.name)), LABELS)
