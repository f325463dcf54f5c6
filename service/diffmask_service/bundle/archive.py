"""Bundles on disk: verified read, atomic write."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from diffmask_service.bundle.manifest import (
    File,
    Manifest,
    Precision,
    parse_manifest,
)
from diffmask_service.bundle.plain_files import PlainFolder, open_folder
from diffmask_service.bundle.selftest import SelfTest, parse_selftest
from diffmask_service.errors import BundleError, DigestMismatch

MANIFEST = "manifest.json"
SELFTEST = "selftest.json"
TOKENIZER = "tokenizer.json"
CARD = "README.md"
_REQUIRED = (SELFTEST, TOKENIZER, CARD)
_MAX_MANIFEST_BYTES = 8 << 20
# A graph over 2 GiB cannot be one file: protobuf ends there.
_MAX_BYTES_BY_SUFFIX: Mapping[str, int] = {
    ".json": 128 << 20,
    ".md": 1 << 20,
    ".onnx": (2 << 30) - 1,
    ".txt": 1 << 20,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose every file has been read and found to be the exported one.

    Attributes:
        manifest: The header.
        digest: sha256 of `manifest.json`, 64 hex digits; stands for the whole bundle.
        selftest: Texts with the values the default graph must give.
        files: Content of every file that the manifest names. These very bytes go to the
            runtime, so that nothing can change between check and use.
    """

    manifest: Manifest
    digest: str
    selftest: SelfTest
    files: Mapping[str, bytes]

    def graph(self, precision: Precision) -> bytes:
        """Return the bytes of one graph.

        Args:
            precision: Which graph.

        Raises:
            BundleError: The bundle has no graph of that precision.
        """
        if precision not in self.manifest.graphs:
            raise BundleError(
                f"the bundle has no {precision} graph; it holds"
                f" {', '.join(self.manifest.graphs)}"
            )
        return self.files[self.manifest.graphs[precision].file]


def read_bundle(directory: Path) -> Bundle:
    """Read a bundle and check every byte of it.

    Args:
        directory: The bundle.

    Raises:
        BundleError: A file is missing, is not plain or not wanted, or the self-test is
            malformed.
        ManifestError: The manifest holds a wrong value.
        SchemaVersionError: It was written under a later schema.
        DigestMismatch: A file is not the exported one.
    """
    with open_folder(directory) as folder:
        return read_bundle_in(folder)


def read_bundle_in(folder: PlainFolder) -> Bundle:
    """Read the bundle in an open folder; otherwise like `read_bundle`.

    Args:
        folder: Of the bundle.
    """
    raw = read_manifest_in(folder)
    manifest = parse_manifest(raw)
    needed = {*_REQUIRED, *(graph.file for graph in manifest.graphs.values())}
    unvouched = needed - set(manifest.files)
    if unvouched:
        raise BundleError(
            f"manifest.json gives no digest for {min(unvouched)}; export the bundle"
            " again"
        )
    _refuse_strangers(folder, manifest)
    files = {name: _verified(folder, name, file) for name, file in _files(manifest)}
    return Bundle(
        manifest=manifest,
        digest=hashlib.sha256(raw).hexdigest(),
        selftest=parse_selftest(files[SELFTEST]),
        files=files,
    )


def read_manifest_in(folder: PlainFolder) -> bytes:
    """Return the bytes of `manifest.json`, unchecked.

    Args:
        folder: Of the bundle.

    Raises:
        BundleError: It is missing, too large or no plain file.
    """
    return folder.read(MANIFEST, max_bytes=_MAX_MANIFEST_BYTES)


def write_bundle(
    directory: Path, manifest: Manifest, files: Mapping[str, bytes]
) -> Bundle:
    """Write a bundle at once or not at all.

    The files are written beside the target and moved into place as one directory; an
    older bundle of the same name is replaced only then.

    Args:
        directory: Where the bundle goes.
        manifest: Its header; the digests are filled in here.
        files: Content by file name, without the manifest.

    Returns:
        The bundle as read back from the disk.

    Raises:
        BundleError: A required file is missing, or the target is something else.
    """
    missing = {*_REQUIRED, *(g.file for g in manifest.graphs.values())} - set(files)
    if missing:
        raise BundleError(f"{directory}: the bundle lacks {min(missing)}")
    check_target(directory)
    digests = {name: _describe(content) for name, content in sorted(files.items())}
    directory.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        staging.chmod(0o755)
        for name, content in files.items():
            _write(staging / name, content)
        _write(staging / MANIFEST, replace(manifest, files=digests).to_json())
        bundle = read_bundle(staging)
        _swap(staging, directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return bundle


def check_target(directory: Path) -> None:
    """Refuse to write a bundle where something else stands.

    Args:
        directory: Where a bundle is to go.

    Raises:
        BundleError: It exists and is not a bundle.
    """
    if directory.exists() and not (directory / MANIFEST).is_file():
        raise BundleError(
            f"{directory}: exists and is not a bundle; name another directory"
        )


def _swap(staging: Path, directory: Path) -> None:
    # A directory cannot be renamed over one that holds files, so the old one steps
    # aside first and comes back should the second rename fail.
    if not directory.exists():
        staging.rename(directory)
        return
    aside = staging.with_name(staging.name + ".old")
    directory.rename(aside)
    try:
        staging.rename(directory)
    except OSError:
        aside.rename(directory)
        raise
    shutil.rmtree(aside)


def _describe(content: bytes) -> File:
    return File(sha256=hashlib.sha256(content).hexdigest(), num_bytes=len(content))


def _files(manifest: Manifest) -> Iterator[tuple[str, File]]:
    for name, file in manifest.files.items():
        suffix = PurePath(name).suffix
        if suffix not in _MAX_BYTES_BY_SUFFIX:
            raise BundleError(
                f"{name}: is of a kind that no bundle holds; allowed are"
                f" {', '.join(_MAX_BYTES_BY_SUFFIX)}"
            )
        yield name, file


def _refuse_strangers(folder: PlainFolder, manifest: Manifest) -> None:
    # Nothing of it would be read; but nobody should take it for a part of the bundle.
    for name in folder.names():
        if name != MANIFEST and name not in manifest.files and name[0] != ".":
            raise BundleError(
                f"{name!r}: is not listed in manifest.json; remove it, or export the"
                " bundle again"
            )


def _verified(folder: PlainFolder, name: str, file: File) -> bytes:
    content = folder.read(name, max_bytes=_MAX_BYTES_BY_SUFFIX[PurePath(name).suffix])
    if _describe(content) != file:
        raise DigestMismatch(
            f"{name}: its bytes are not the exported ones (expected"
            f" {file.num_bytes} bytes with sha256 {file.sha256[:12]}…); copy or export"
            " the bundle again"
        )
    return content


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
