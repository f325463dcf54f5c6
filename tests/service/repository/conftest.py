"""A repository over a folder that the test fills."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diffmask_service.repository import ModelFolder, Repository
from tests.support.repository import Made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
async def make(root: Path) -> AsyncIterator[Made]:
    made = []

    def make(max_versions: int = 1, **settings: object) -> Repository:
        source = settings.pop("source", ModelFolder(root))
        made.append(
            Repository(source=source, max_versions=max_versions, **settings)  # type: ignore[arg-type]
        )
        return made[-1]

    yield make
    for repository in made:
        await repository.drain(0.0)
        repository.close()
