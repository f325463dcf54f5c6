import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from diffmask_training.errors import OutputError
from diffmask_training.whole_files import write_whole


@contextmanager
def _disk_of(num_bytes: int) -> Iterator[None]:
    # The kernel refuses to let any file grow past this, as a full disk would.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_are_written_and_replaced(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", {"a": b"1", "b": b"2"})
    write_whole(tmp_path / "new", {"a": b"3"})
    content = {p.name: p.read_bytes() for p in (tmp_path / "new").iterdir()}
    assert content == {"a": b"3", "b": b"2"}


def test_full_disk_leaves_every_file_as_it_was(tmp_path: Path) -> None:
    write_whole(tmp_path, {"a": b"old", "b": b"old"})
    with (
        _disk_of(1000),
        pytest.raises(OutputError, match=r"a, b cannot be written.*--resume"),
    ):
        write_whole(tmp_path, {"a": b"new", "b": b"x" * 5000})
    content = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert content == {"a": b"old", "b": b"old"}


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken"):
        write_whole(tmp_path / "taken", {"a": b"1"})
