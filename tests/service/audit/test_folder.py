from pathlib import Path

import pytest

from diffmask_service.audit import Folder
from diffmask_service.errors import InvalidInput
from tests.support.audits import file_limit

IDENTITY = {"input_sha256": "one", "truncate": False}


def _add(folder: Folder, content: bytes) -> None:
    folder.add_part(content, num_rows=2, num_errors=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Folder(tmp_path / "audit", IDENTITY) as folder:
        _add(folder, b"first")
        _add(folder, b"second")
    return tmp_path / "audit"


def test_parts_are_found_again(path: Path) -> None:
    with Folder(path, IDENTITY) as folder:
        assert [part.num_rows for part in folder.parts] == [2, 2]
        assert [each.read_bytes() for each in folder.part_paths] == [
            b"first",
            b"second",
        ]


def test_a_torn_line_of_the_journal_does_not_count(path: Path) -> None:
    journal = path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-1])
    with Folder(path, IDENTITY) as folder:
        assert len(folder.parts) == 1
        _add(folder, b"second")
    assert journal.read_bytes() == whole


def test_staged_files_of_a_killed_run_are_removed(path: Path) -> None:
    left = path / ".part-00002.parquet.partial"
    left.write_bytes(b"half")
    with Folder(path, IDENTITY):
        assert not left.exists()


def test_a_folder_of_another_audit_is_refused_and_says_why(path: Path) -> None:
    with pytest.raises(InvalidInput, match='input_sha256 was "one", is "two"'):
        Folder(path, {**IDENTITY, "input_sha256": "two"})


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="holds other files"):
        Folder(tmp_path, IDENTITY)
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_takes_one_audit_at_a_time(path: Path) -> None:
    with (
        Folder(path, IDENTITY),
        pytest.raises(InvalidInput, match="another process writes to it"),
    ):
        Folder(path, IDENTITY)


def test_a_changed_part_is_refused(path: Path) -> None:
    (path / "parts" / "part-00001.parquet").write_bytes(b"other")
    with pytest.raises(InvalidInput, match=r"part-00001.*not as it was written"):
        Folder(path, IDENTITY)


def test_a_missing_part_is_refused(path: Path) -> None:
    (path / "parts" / "part-00000.parquet").unlink()
    with pytest.raises(InvalidInput, match=r"part-00000.*cannot be read"):
        Folder(path, IDENTITY)


def test_a_damaged_journal_is_refused(path: Path) -> None:
    (path / "journal.jsonl").write_bytes(b"{}\n")
    with pytest.raises(InvalidInput, match="is damaged"):
        Folder(path, IDENTITY)


@pytest.mark.parametrize("content", [b"third", b"third" * 1000])
def test_a_full_disk_keeps_what_was_written(path: Path, content: bytes) -> None:
    # Enough for a small part, and for the beginning of its line in the journal.
    num_bytes = (path / "journal.jsonl").stat().st_size + 20
    with (
        Folder(path, IDENTITY) as folder,
        pytest.raises(InvalidInput, match="run the same command again"),
        file_limit(num_bytes),
    ):
        _add(folder, content)
    with Folder(path, IDENTITY) as folder:
        assert len(folder.parts) == 2
        _add(folder, content)
    with Folder(path, IDENTITY) as folder:
        assert [part.num_rows for part in folder.parts] == [2, 2, 2]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_place_that_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="cannot be made a folder") as refused:
        Folder(tmp_path / name, IDENTITY)
    assert "journal" not in str(refused.value)
