"""Checkpoints of a fine-tuning, which the library writes after every epoch.

It writes them in place, file by file, and takes up the last one whatever its state and
whoever wrote it. So a checkpoint counts only when it is whole, and only for the run
that it belongs to.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from diffmask_training.errors import CheckpointError
from diffmask_training.identity import refuse_other
from diffmask_training.whole_files import write_whole

_IDENTITY = "identity.json"
# The library writes it last.
_STATE = "trainer_state.json"


def begin(directory: Path, identity: Mapping[str, str]) -> None:
    """Drop what an earlier run left, and say whose checkpoints will be here.

    Args:
        directory: Of the checkpoints.
        identity: What a run must have in common with this one to go on from them.

    Raises:
        OutputError: The folder cannot be written.
    """
    # A later --resume must not take it up.
    shutil.rmtree(directory, ignore_errors=True)
    text = json.dumps(identity, indent=2) + "\n"
    write_whole(directory, {_IDENTITY: text.encode()})


def last_whole(directory: Path, identity: Mapping[str, str]) -> Path | None:
    """Return the checkpoint to go on from, or None to start again.

    What a run left that was killed while it wrote is removed.

    Args:
        directory: Of the checkpoints.
        identity: Of the run that is to go on.

    Raises:
        CheckpointError: The checkpoints are another run's.
        OutputError: The folder cannot be written.
    """
    if not (directory / _IDENTITY).is_file():
        if any(directory.glob("checkpoint-*")):
            raise CheckpointError(
                f"{directory}: its checkpoints do not say which run they belong to;"
                " delete them to start again"
            )
        begin(directory, identity)
        return None
    refuse_other(directory, _read(directory / _IDENTITY), identity)
    whole = None
    for path in sorted(directory.glob("checkpoint-*"), key=_step):
        if _is_whole(path):
            whole = path
        else:
            shutil.rmtree(path)
    return whole


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _read(path: Path) -> dict[str, str]:
    try:
        identity: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); delete its folder to start again"
        ) from error
    return identity
