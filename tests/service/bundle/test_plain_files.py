"""A folder that can no more be read, as when a version is removed under a look."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from diffmask_service.bundle import PlainFolder
from diffmask_service.errors import BundleError


@pytest.mark.parametrize("look", [PlainFolder.names, PlainFolder.facts])
def test_a_folder_that_cannot_be_read_is_refused_as_a_bundle(
    tmp_path: Path, look: Callable[[PlainFolder], object]
) -> None:
    # What fails depends on the file system; a descriptor of no folder always does.
    path = tmp_path / "file"
    path.touch()
    with (
        PlainFolder(os.open(path, os.O_RDONLY)) as folder,
        pytest.raises(BundleError, match="cannot be read"),
    ):
        look(folder)
