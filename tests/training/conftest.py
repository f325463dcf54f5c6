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
    from diffmask_training.explained import ExplainedText, explain_texts
    from tests.support.checkpoint import write_checkpoint, write_texts
    from tests.support.probes import random_probes
    from tests.support.trained import (
        encodings_of_records,
        scattered_records,
        trained_classifier,
    )

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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> "Classifier":
    """A classifier that tells good films from bad ones."""
    return trained_classifier(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def explained(trained: "Classifier") -> "tuple[ExplainedText, ...]":
    """Some texts with gates by random probes."""
    encodings = encodings_of_records(trained, scattered_records(20, seed=7))
    return explain_texts(trained, random_probes(trained), encodings)
