"""What a run must have in common with another to go on from its checkpoint.

A run that goes on equals one that was never interrupted only where settings, weights,
texts and the programs that compute are the same. Where they lie does not matter.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from diffmask_service import __version__
from diffmask_training.batches import Encoding
from diffmask_training.errors import CheckpointError

# Where texts are and how they are held; what they say is compared by digest.
_PLACES = frozenset(
    {"data", "train", "validation", "test", "probes", "resume", "max_held_bytes"}
)


def identity_of(config: Any, **compared: str) -> dict[str, str]:
    """Return the values that must be the same, by name.

    Args:
        config: Settings, a dataclass; paths in it are places and are left out.
        **compared: What else must be the same, such as digests.
    """
    settings = {
        name: str(value)
        for name, value in dataclasses.asdict(config).items()
        if name not in _PLACES and not isinstance(value, Path)
    }
    named = {name.replace("_", " "): value for name, value in compared.items()}
    return {
        **settings,
        **named,
        "diffmask": __version__,
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


def digest_of(encodings: Iterable[Encoding]) -> str:
    """Return a short name of some texts. Reads each once, so finds malformed ones."""
    digest = hashlib.sha256()
    for encoding in encodings:
        digest.update(repr((encoding.input_ids, encoding.label)).encode())
    return f"sha256 {digest.hexdigest()[:16]}"


def refuse_other(
    path: Path, begun: Mapping[str, str], given: Mapping[str, str]
) -> None:
    """Refuse to go on from a checkpoint of another run.

    Args:
        path: The checkpoint, for the message.
        begun: Identity of the run that it was written by.
        given: That of the run that is to go on from it.

    Raises:
        CheckpointError: They differ; the message names every difference.
    """
    names = sorted({*begun, *given})
    differing = [
        f"{name} was {begun.get(name, 'not there')}, is {given.get(name, 'not there')}"
        for name in names
        if begun.get(name) != given.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{path}: belongs to another run: {'; '.join(differing)}. Go on with what"
            " it was begun with, or delete it to start again"
        )
