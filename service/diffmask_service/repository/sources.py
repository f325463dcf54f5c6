"""Where bundles lie: one directory, or a folder of models and their versions.

Everything here blocks; the repository calls it on a thread of its own.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from diffmask_service.bundle import (
    NAME_PATTERN,
    VERSION_PATTERN,
    Bundle,
    Facts,
    PlainFolder,
    open_folder,
    parse_manifest,
    read_bundle_in,
    read_manifest_in,
)
from diffmask_service.errors import BundleError, FolderError, ManifestError

_LOG = logging.getLogger(__name__)
# Whatever else lies in the folder is passed over, such as a version on its way under a
# name that begins with a dot.
_MODEL = re.compile(NAME_PATTERN)
_VERSION = re.compile(VERSION_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that lies there; nothing of it is checked yet.

    Attributes:
        name: Of the model.
        version: Its number.
        digest: sha256 of its manifest, 64 hex digits; empty when it has none.
        facts: What changes whenever one of its files does.
    """

    name: str
    version: int
    digest: str
    facts: Facts


class Source(Protocol):
    """Where a repository finds bundles; both methods block."""

    def scan(self) -> tuple[Candidate, ...]:
        """Return what lies there, by model name, the highest version first.

        Raises:
            BundleError: Nothing can be found there.
        """
        ...

    def read(self, candidate: Candidate) -> Bundle:
        """Return the bundle of a candidate, every byte checked.

        Raises:
            BundleError: It cannot be used, or says that it is another one.
        """
        ...


class OneBundle:
    """A single directory, whose manifest says what it is.

    Args:
        directory: The bundle.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def scan(self) -> tuple[Candidate, ...]:
        """Return what lies there: always one."""
        with open_folder(self._directory) as folder:
            raw = read_manifest_in(folder)
            facts = folder.facts()
        manifest = parse_manifest(raw)
        return (
            Candidate(
                name=manifest.id,
                version=int(manifest.version),
                digest=hashlib.sha256(raw).hexdigest(),
                facts=facts,
            ),
        )

    def read(self, candidate: Candidate) -> Bundle:
        """Return the bundle, every byte checked."""
        with open_folder(self._directory) as folder:
            bundle = read_bundle_in(folder)
        _check_name(bundle, candidate)
        return bundle


class ModelFolder:
    """A folder with a folder for each model, and in it one for each version.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._passed_over: set[str] = set()

    def scan(self) -> tuple[Candidate, ...]:
        """Return what lies there, by model name, the highest version first."""
        found: list[Candidate] = []
        with open_folder(self._root) as root:
            for name in root.names():
                if not _MODEL.fullmatch(name):
                    continue
                try:
                    with root.folder(name) as model:
                        found.extend(_versions(model, name))
                except BundleError as error:
                    self._pass_over(name, error)
        if not found:
            raise FolderError(
                f"{self._root}: holds no model; put bundles into it as"
                " MODEL/VERSION, with the version's number"
            )
        return tuple(found)

    def read(self, candidate: Candidate) -> Bundle:
        """Return the bundle of a candidate, every byte checked."""
        with (
            open_folder(self._root) as root,
            root.folder(candidate.name) as model,
            model.folder(str(candidate.version)) as version,
        ):
            bundle = read_bundle_in(version)
        _check_name(bundle, candidate)
        return bundle

    def _pass_over(self, name: str, error: BundleError) -> None:
        if name not in self._passed_over:
            self._passed_over.add(name)
            _LOG.warning("passed over in the repository: %s", error)


def _versions(model: PlainFolder, name: str) -> list[Candidate]:
    numbers = [int(each) for each in model.names() if _VERSION.fullmatch(each)]
    return [_candidate(model, name, number) for number in sorted(numbers, reverse=True)]


def _candidate(model: PlainFolder, name: str, version: int) -> Candidate:
    digest = ""
    facts: Facts = ()
    # What is wrong with it is told when it is loaded.
    try:
        with model.folder(str(version)) as folder:
            facts = folder.facts()
            digest = hashlib.sha256(read_manifest_in(folder)).hexdigest()
    except BundleError:
        pass
    return Candidate(name=name, version=version, digest=digest, facts=facts)


def _check_name(bundle: Bundle, candidate: Candidate) -> None:
    manifest = bundle.manifest
    for path, found, wanted in (
        ("$.id", manifest.id, candidate.name),
        ("$.version", manifest.version, str(candidate.version)),
    ):
        if found != wanted:
            raise ManifestError(
                f"is {found!r}, but the bundle lies in a folder for {wanted!r}; rename"
                " the folder, or export the bundle under that name",
                path=path,
            )
