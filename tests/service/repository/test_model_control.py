"""Models loaded and unloaded on a word, and what waits for that."""

import asyncio
import threading
from pathlib import Path

import pytest

from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.errors import BundleError, DigestMismatch, NotFound, NotReadyError
from diffmask_service.repository import Repository
from tests.support.engine import explain_one
from tests.support.repository import (
    Changes,
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


async def test_a_load_that_a_stop_overtakes_is_no_fault_of_the_bundle(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository = make()
    loading = asyncio.ensure_future(repository.load("tiny"))
    await asyncio.sleep(0)
    assert await repository.drain(60.0)
    with pytest.raises(NotReadyError, match="is stopping"):
        await loading


async def test_a_load_goes_on_when_its_caller_leaves(root: Path, make: Made) -> None:
    has_begun, may_end = threading.Event(), threading.Event()

    def open_engine(bundle: Bundle) -> Engine:
        has_begun.set()
        may_end.wait(10.0)
        return Engine.open(bundle)

    put_version(root, 1)
    repository, changes = make(open_engine=open_engine), Changes()
    caller = asyncio.ensure_future(repository.load("tiny"))
    await asyncio.to_thread(has_begun.wait)
    # As gRPC does when the caller's time is up.
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    repository.subscribe(changes.hear)
    async with asyncio.timeout(60.0):
        await changes.until(lambda: ("tiny", "1", True) in changes.told)
    assert states(repository) == {"tiny/1": "READY"}
