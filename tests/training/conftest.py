"""Fixtures of the training tests; the folder is passed over where torch is absent."""

import importlib.util
from pathlib import Path

import pytest

collect_ignore_glob: list[str] = []
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["*"]
else:
    import torch

    from diffmask_training.classifier import Classifier, load_classifier
    from tests.support.checkpoint import write_checkpoint, write_texts

    # Tiny matrices lose more to threads than they win, and sums keep one order.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier directory."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A file of labelled texts."""
    return write_texts(tmp_path / "texts.jsonl")


@pytest.fixture
def classifier(checkpoint: Path) -> "Classifier":
    """The classifier, loaded."""
    return load_classifier(checkpoint)
