"""The Stanford Sentiment Treebank as fits and their measurements take it.

The official dev set carries the figures; the test set only decides among epochs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmask_training.batches import Encoding
from diffmask_training.classifier import Classifier
from diffmask_training.config import DataConfig
from diffmask_training.splits import read_splits

_TREES = Path("sst/trees")


def treebank_files(data: Path) -> dict[str, Any]:
    """Return the settings that name the treebank's files.

    Args:
        data: Folder with `sst/trees/{train,dev,test}.txt.gz`.
    """
    return {
        "data": data,
        "train": _TREES / "train.txt.gz",
        "validation": _TREES / "test.txt.gz",
        "test": _TREES / "dev.txt.gz",
    }


def held_out_texts(classifier: Classifier, config: DataConfig) -> Sequence[Encoding]:
    """Return the texts that figures are measured on.

    Args:
        classifier: Whose tokenizer and labels they take.
        config: Names the files.

    Raises:
        DataError: The treebank is not there.
    """
    task = classifier.encoder.task.name
    tests = read_splits(config, classifier.labels, task=task).test
    return classifier.encode(tests, config.max_train_tokens)
