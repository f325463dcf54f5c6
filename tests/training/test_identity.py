"""What must be the same for a run to go on."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import transformers

from diffmask_service import __version__
from diffmask_training.errors import CheckpointError
from diffmask_training.identity import identity_of, refuse_other


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    epochs: int = 3
    probes: Path = Path("somewhere")
    resume: bool = True


def test_settings_texts_and_programs_count_and_places_do_not() -> None:
    assert identity_of(_Settings(), training_texts="sha256 12") == {
        "epochs": "3",
        "training texts": "sha256 12",
        "diffmask": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def test_every_difference_is_named() -> None:
    begun = identity_of(_Settings())
    given = identity_of(_Settings(epochs=4)) | {"torch": "1.0"}
    refuse_other(Path("resume.pt"), begun, begun)
    with pytest.raises(CheckpointError) as caught:
        refuse_other(Path("resume.pt"), begun, given)
    assert "resume.pt" in str(caught.value)
    assert "epochs was 3, is 4" in str(caught.value)
    assert f"torch was {torch.__version__}, is 1.0" in str(caught.value)
    assert "transformers" not in str(caught.value)
