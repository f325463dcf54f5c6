import json
from pathlib import Path

import pytest

from diffmask_service.bundle import Bundle, read_bundle, write_bundle
from diffmask_service.errors import BundleError, DigestMismatch, SchemaVersionError
from tests.support.tiny import tiny_files, tiny_manifest, write_tiny_bundle

FILES = ("model.fp32.onnx", "selftest.json", "tokenizer.json", "README.md")


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    written = write_tiny_bundle(tmp_path / "deep" / "tiny")
    assert read_bundle(tmp_path / "deep" / "tiny") == written
    assert written.files == tiny_files()


def test_the_graph_is_found_by_precision(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.graph("fp32") == tiny_files()["model.fp32.onnx"]
    with pytest.raises(BundleError, match="no w8 graph; it holds fp32"):
        tiny_bundle.graph("w8")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "tiny"
    write_tiny_bundle(directory)
    raw = bytearray((directory / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (directory / name).write_bytes(raw)
    with pytest.raises(DigestMismatch, match=f"{name}: its bytes are not the exported"):
        read_bundle(directory)


def test_a_flipped_byte_of_the_manifest_changes_the_digest(tmp_path: Path) -> None:
    directory = tmp_path / "tiny"
    before = write_tiny_bundle(directory).digest
    manifest = directory / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"arithmetic", b"arithmetik"))
    assert read_bundle(directory).digest != before


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "tiny" / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: cannot be read"):
        read_bundle(tmp_path / "tiny")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="absent: no such directory"):
        read_bundle(tmp_path / "absent")


def test_a_file_without_a_digest_is_named(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    path = tmp_path / "tiny" / "manifest.json"
    header = json.loads(path.read_bytes())
    del header["files"]["tokenizer.json"]
    path.write_text(json.dumps(header))
    with pytest.raises(BundleError, match=r"no digest for tokenizer\.json"):
        read_bundle(tmp_path / "tiny")


def test_a_bundle_of_a_later_release_is_told_apart(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    path = tmp_path / "tiny" / "manifest.json"
    header = json.loads(path.read_bytes()) | {"schema_version": 99}
    path.write_text(json.dumps(header))
    with pytest.raises(SchemaVersionError, match="99"):
        read_bundle(tmp_path / "tiny")


def test_a_link_is_refused_even_to_the_right_bytes(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    path = tmp_path / "tiny" / "tokenizer.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match="is a link"):
        read_bundle(tmp_path / "tiny")


def test_a_bundle_that_lacks_a_file_is_not_written(tmp_path: Path) -> None:
    files = tiny_files()
    del files["tokenizer.json"]
    with pytest.raises(BundleError, match=r"lacks tokenizer\.json"):
        write_bundle(tmp_path / "tiny", tiny_manifest(), files)
    assert list(tmp_path.iterdir()) == []


def test_another_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "home", tiny_manifest(), tiny_files())
    assert contents(tmp_path / "home") == {"letter.txt": b"dear"}


def test_an_older_bundle_is_replaced_whole(tmp_path: Path) -> None:
    files = tiny_files() | {"notes.txt": b"old"}
    write_bundle(tmp_path / "tiny", tiny_manifest(version="1"), files)
    write_bundle(tmp_path / "tiny", tiny_manifest(version="2"), tiny_files())
    assert read_bundle(tmp_path / "tiny").manifest.version == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    assert "notes.txt" not in contents(tmp_path / "tiny")


def test_a_failure_in_the_middle_leaves_the_older_bundle(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", version="1")
    before = contents(tmp_path / "tiny")
    files = tiny_files(selftest__json=b"not a self-test")
    with pytest.raises(BundleError, match=r"selftest\.json"):
        write_bundle(tmp_path / "tiny", tiny_manifest(version="2"), files)
    assert contents(tmp_path / "tiny") == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_failing_move_brings_the_older_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_bundle(tmp_path / "tiny", version="1")
    before = contents(tmp_path / "tiny")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        # The second of the two moves: the staged bundle into its place.
        if target.name == "tiny" and not self.name.endswith(".old"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        write_tiny_bundle(tmp_path / "tiny", version="2")
    assert contents(tmp_path / "tiny") == before
