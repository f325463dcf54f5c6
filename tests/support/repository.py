"""Folders of tiny models for a repository, and what a test waits for in it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from diffmask_service.repository import Repository
from tests.support.tiny import write_tiny_bundle

Made = Callable[..., Repository]


def put_version(root: Path, version: int, *, name: str = "tiny") -> Path:
    """Put a version of a tiny model in place at once; return its folder."""
    directory = root / name / str(version)
    write_tiny_bundle(directory, id=name, version=str(version))
    return directory


def put_bad_version(root: Path, version: int, *, name: str = "tiny") -> Path:
    """Put a version in place whose tokenizer is not the exported one."""
    staged = root.parent / f"staged-{name}-{version}"
    write_tiny_bundle(staged, id=name, version=str(version))
    tokenizer = staged / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes().replace(b"movie", b"novel"))
    directory = root / name / str(version)
    directory.parent.mkdir(parents=True, exist_ok=True)
    return staged.rename(directory)


@dataclass(slots=True)
class Changes:
    """All that a repository told its listeners, and a way to wait for more.

    Attributes:
        told: Name, version and readiness, in order.
    """

    told: list[tuple[str, str, bool]] = field(default_factory=list)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, name: str, version: str, is_ready: bool) -> None:
        """Take a change down."""
        self.told.append((name, version, is_ready))
        self._woken.set()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        """Wait for changes until something holds."""
        while not is_enough():
            self._woken.clear()
            await self._woken.wait()


def states(repository: Repository) -> dict[str, str]:
    """Return the state of every version, by `name/version`."""
    return {
        f"{entry.name}/{entry.version}": entry.state.value
        for entry in repository.index()
    }


def reason(repository: Repository, name: str, version: int) -> str:
    """Return what the index says against one version."""
    for entry in repository.index():
        if (entry.name, entry.version) == (name, str(version)):
            return entry.reason
    raise AssertionError(f"{name}/{version} is not in the index")


def version_found(repository: Repository, model: str = "", version: str = "") -> str:
    """Return the version that a request for a model would meet."""
    return repository.find(model, version=version).description.identity.version
