"""The engine that a request is meant for, and what is there from the start."""

import asyncio
from pathlib import Path

import pytest

from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    BundleError,
    DigestMismatch,
    InvalidInput,
    ManifestError,
    NotFound,
    NotReadyError,
)
from diffmask_service.repository import ModelEntry, ModelState, Repository
from tests.support.repository import (
    Changes,
    Made,
    put_bad_version,
    put_version,
    reason,
    states,
    version_found,
)
from tests.support.tiny import write_tiny_bundle


@pytest.mark.parametrize(
    ("model", "version"), [("", ""), ("tiny", ""), ("", "3"), ("tiny", "3")]
)
def test_the_served_model_is_found(engine: Engine, model: str, version: str) -> None:
    assert Repository([engine]).find(model, version=version) is engine


@pytest.mark.parametrize(
    ("model", "version"), [("huge", ""), ("", "4"), ("tiny", "03"), ("../tiny", "")]
)
def test_another_model_is_not_found(engine: Engine, model: str, version: str) -> None:
    with pytest.raises(NotFound, match="there is 'tiny' of version 3"):
        Repository([engine]).find(model, version=version)


def test_the_index_tells_how_each_version_stands(engine: Engine) -> None:
    repository = Repository([engine])
    ready = ModelEntry(name="tiny", version="3", state=ModelState.READY)
    assert repository.index() == (ready,)
    engine.close()
    (entry,) = repository.index()
    assert entry.state is ModelState.UNAVAILABLE
    assert entry.reason


async def test_the_highest_version_by_number_answers(root: Path, make: Made) -> None:
    put_version(root, 9)
    put_version(root, 10)
    repository = make()
    await repository.start()
    assert version_found(repository) == "10"
    assert states(repository) == {"tiny/9": "UNAVAILABLE", "tiny/10": "READY"}
    assert "not among the 1 highest" in reason(repository, "tiny", 9)
    with pytest.raises(NotFound):
        repository.find("tiny", version="9")


async def test_as_many_versions_stay_as_asked_for(root: Path, make: Made) -> None:
    for version in (1, 2, 3):
        put_version(root, version)
    repository = make(max_versions=2)
    await repository.start()
    assert version_found(repository, version="2") == "2"
    assert version_found(repository) == "3"
    assert len(repository.engines) == 2


async def test_several_models_are_told_apart(root: Path, make: Made) -> None:
    put_version(root, 1, name="one")
    put_version(root, 2, name="two")
    repository = make()
    await repository.start()
    assert version_found(repository, "one") == "1"
    assert version_found(repository, "two") == "2"
    with pytest.raises(InvalidInput, match="name one of 'one', 'two'"):
        repository.find("", version="")


async def test_what_is_no_version_is_passed_over(root: Path, make: Made) -> None:
    put_version(root, 1)
    write_tiny_bundle(root / "tiny" / ".2.half")
    write_tiny_bundle(root / "tiny" / "latest")
    write_tiny_bundle(root / "tiny" / "03")
    write_tiny_bundle(root / ".hidden" / "1")
    (root / "notes.txt").write_text("about the models")
    repository = make()
    await repository.start()
    assert states(repository) == {"tiny/1": "READY"}


@pytest.mark.parametrize("folder", ["other/3", "tiny/4"])
async def test_a_bundle_in_the_folder_of_another_is_refused(
    root: Path, make: Made, folder: str
) -> None:
    write_tiny_bundle(root / folder)
    with pytest.raises(ManifestError, match="the bundle lies in a folder for"):
        await make().start()


async def test_links_in_the_repository_are_refused(root: Path, make: Made) -> None:
    good = put_version(root, 1)
    (root / "tiny" / "2").symlink_to(good)
    (root / "linked").symlink_to(root / "tiny")
    repository = make()
    await repository.start()
    assert states(repository) == {"tiny/1": "READY", "tiny/2": "UNAVAILABLE"}
    assert "2: is a link" in reason(repository, "tiny", 2)


async def test_a_bad_version_at_the_start_leaves_the_good_one(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    put_bad_version(root, 2)
    put_bad_version(root, 5, name="other")
    repository = make()
    await repository.start()
    assert version_found(repository, "tiny") == "1"
    assert states(repository) == {
        "other/5": "UNAVAILABLE",
        "tiny/1": "READY",
        "tiny/2": "UNAVAILABLE",
    }
    assert reason(repository, "tiny", 2).startswith("tokenizer.json: its bytes are not")
    assert str(root) not in str(repository.index())
    with pytest.raises(NotReadyError, match="could not be loaded"):
        repository.find("other", version="")
    with pytest.raises(NotReadyError, match="could not be loaded"):
        repository.find("tiny", version="2")


async def test_without_any_good_model_nothing_is_served(root: Path, make: Made) -> None:
    put_bad_version(root, 1, name="one")
    with pytest.raises(DigestMismatch):
        await make().start()
    put_bad_version(root, 1, name="two")
    with pytest.raises(BundleError, match=r"(?s)one, version 1: .*two, version 1: "):
        await make().start()


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_folder_without_models_is_named(
    root: Path, make: Made, is_there: bool
) -> None:
    if is_there:
        (root / "tiny").mkdir(parents=True)
    with pytest.raises(BundleError, match=r"no such directory|holds no model"):
        await make().start()


async def test_a_failure_of_a_library_is_the_bundles_own(
    root: Path, make: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(bundle: Bundle) -> Engine:
        raise MemoryError(str(root))

    put_version(root, 1)
    repository = make(open_engine=failing)
    with pytest.raises(BundleError, match=r"unexpectedly \(MemoryError\)"):
        await repository.start()
    assert str(root) not in str(repository.index())
    assert "failed unexpectedly" in caplog.text


async def test_a_model_that_is_being_loaded_is_not_ready(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository, changes = make(), Changes()
    repository.subscribe(changes.hear)
    loading = asyncio.ensure_future(repository.start())
    await changes.until(lambda: bool(changes.told))
    assert changes.told == [("tiny", "1", False)]
    assert states(repository) == {"tiny/1": "LOADING"}
    with pytest.raises(NotReadyError, match="is being loaded"):
        repository.find("tiny", version="")
    await loading
    assert repository.is_ready
