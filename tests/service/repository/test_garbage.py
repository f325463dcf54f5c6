"""What a server spares the garbage collector, and that nothing stays for it."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffmask_service.app import build_repository
from diffmask_service.config import ServiceConfig
from diffmask_service.engine import Engine
from diffmask_service.telemetry import Telemetry
from tests.support.repository import Changes, put_version, states, version_found


@pytest.fixture(autouse=True)
def _unfrozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


async def test_a_served_model_is_spared_and_one_let_go_leaves_nothing(
    tmp_path: Path,
) -> None:
    # Of other tests; they stay, so that no new one gets the identity of an old.
    others = _engines()
    put_version(tmp_path, 1)
    config = ServiceConfig(repository=tmp_path)
    repository = build_repository(config, Telemetry())
    await repository.start()
    assert gc.get_freeze_count() > 0
    assert not _engines()
    first = id(repository.find("", version=""))
    changes = Changes()
    repository.subscribe(changes.hear)
    put_version(tmp_path, 2)
    await repository.refresh()
    assert version_found(repository) == "2"
    await changes.until(lambda: ("tiny", "1", False) in changes.told)
    # The index tells nobody of this.
    while states(repository) != {  # noqa: ASYNC110
        "tiny/1": "UNAVAILABLE",
        "tiny/2": "READY",
    }:
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    # Nobody has collected since, but the repository.
    gc.disable()
    gc.unfreeze()
    try:
        left = {id(each) for each in _engines()} - {id(each) for each in others}
    finally:
        gc.enable()
    assert left == {id(repository.find("", version=""))}
    assert first not in left
    await repository.drain(0.0)
    repository.close()


def _engines() -> list[Engine]:
    # What is frozen is not listed. By its type alone: objects of some libraries warn
    # when they are asked for their class.
    return [each for each in gc.get_objects() if type(each) is Engine]
