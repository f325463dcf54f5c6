"""Models loaded and unloaded on a word, and what waits for that."""

import asyncio
from pathlib import Path

import pytest

from diffmask_service.engine import Engine
from diffmask_service.errors import BundleError, DigestMismatch, NotFound
from diffmask_service.repository import Repository
from tests.support.engine import explain_one
from tests.support.repository import (
    Made,
    put_bad_version,
    put_version,
    states,
    version_found,
)


async def test_an_unloaded_model_stays_away_until_it_is_loaded(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    await repository.unload("tiny")
    await repository.refresh(retry=True)
    with pytest.raises(NotFound, match="there is none at all"):
        repository.find("tiny", version="")
    await repository.load("tiny")
    assert version_found(repository) == "1"


async def test_loading_tells_what_is_wrong_with_the_newest_version(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    put_bad_version(root, 2)
    with pytest.raises(DigestMismatch):
        await repository.load("tiny")
    assert version_found(repository) == "1"


async def test_only_models_of_the_folder_are_loaded_and_unloaded(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    for name in ("huge", "../models/tiny", "tiny/1", ""):
        with pytest.raises(NotFound):
            await repository.load(name)
        with pytest.raises(NotFound):
            await repository.unload(name)


async def test_without_a_source_nothing_is_loaded(engine: Engine) -> None:
    with pytest.raises(BundleError, match="no repository"):
        await Repository([engine]).load("tiny")


async def test_requests_wait_for_no_load(root: Path, make: Made) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    put_version(root, 2)
    loading = asyncio.ensure_future(repository.refresh())
    answered = 0
    while not loading.done():
        await explain_one(repository.find("", version=""))
        answered += 1
    await loading
    assert answered > 0
    assert version_found(repository) == "2"


async def test_while_it_stops_nothing_is_taken_in(root: Path, make: Made) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    put_version(root, 2)
    loading = asyncio.ensure_future(repository.refresh())
    await asyncio.sleep(0)
    assert await repository.drain(60.0)
    await loading
    assert states(repository)["tiny/2"] == "UNAVAILABLE"
