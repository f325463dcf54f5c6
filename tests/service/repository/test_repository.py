"""The engine that a request is meant for, and how engines come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable
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
from diffmask_service.repository import (
    ModelEntry,
    ModelFolder,
    ModelState,
    OneBundle,
    Repository,
)
from tests.support.engine import explain_one
from tests.support.repository import (
    Changes,
    put_bad_version,
    put_version,
    reason,
    states,
)
from tests.support.tiny import tiny_files, write_tiny_bundle

Made = Callable[..., Repository]


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


def version_found(repository: Repository, model: str = "", version: str = "") -> str:
    return repository.find(model, version=version).description.identity.version


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


async def test_a_new_version_takes_over_and_the_old_one_is_closed(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository, changes = make(), Changes()
    await repository.start()
    repository.subscribe(changes.hear)
    old = repository.find("", version="")
    put_version(root, 2)
    await repository.refresh()
    assert version_found(repository) == "2"
    drained = Changes()
    old.on_readiness(lambda is_ready: drained.hear("tiny", "1", is_ready))
    await drained.until(lambda: ("tiny", "1", False) in drained.told)
    with pytest.raises(NotReadyError):
        await explain_one(old)
    assert [each for each in changes.told if each[2]] == [
        ("tiny", "1", True),
        ("tiny", "2", True),
    ]
    # The new one is ready before the old one is not.
    assert changes.told.index(("tiny", "2", True)) < changes.told.index(
        ("tiny", "1", False)
    )


async def test_an_old_version_ends_what_it_began(root: Path, make: Made) -> None:
    put_version(root, 1)
    repository = make()
    await repository.start()
    running = asyncio.ensure_future(explain_one(repository.find("", version="")))
    await asyncio.sleep(0)
    await repository.unload("tiny")
    assert states(repository) == {"tiny/1": "UNLOADING"}
    assert (await running).num_tokens == 6


async def test_a_bad_version_changes_nothing_but_its_entry(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository, changes = make(), Changes()
    await repository.start()
    repository.subscribe(changes.hear)
    before = repository.find("", version="")
    put_bad_version(root, 2)
    await repository.refresh()
    assert repository.find("", version="") is before
    assert changes.told == [("tiny", "1", True), ("tiny", "2", False)]
    assert "tokenizer.json" in reason(repository, "tiny", 2)


async def test_bad_content_under_a_served_version_is_only_told(
    root: Path, make: Made
) -> None:
    directory = put_version(root, 1)
    repository = make()
    await repository.start()
    before = repository.find("", version="")
    manifest = directory / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"fp32"', b'"fp31"'))
    await repository.refresh()
    assert repository.find("", version="") is before
    assert states(repository) == {"tiny/1": "READY"}
    assert "manifest.json" in reason(repository, "tiny", 1)


async def test_better_content_under_a_served_version_takes_over(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    repository, changes = make(), Changes()
    await repository.start()
    repository.subscribe(changes.hear)
    before = repository.find("", version="")
    write_tiny_bundle(root / "tiny" / "1", version="1", accuracy=0.5)
    await repository.refresh()
    after = repository.find("", version="")
    assert after is not before
    assert (await explain_one(after)).num_tokens == 6
    # Nobody was told of a gap, as there was none.
    assert changes.told == [("tiny", "1", True)]


async def test_what_failed_is_tried_again_when_it_changed_or_on_demand(
    root: Path, make: Made
) -> None:
    put_version(root, 1)
    read: list[str] = []

    def counting(bundle: Bundle) -> Engine:
        read.append(bundle.manifest.version)
        if bundle.manifest.accuracy == 0.0:
            raise BundleError("not today")
        return Engine.open(bundle)

    repository = make(open_engine=counting)
    await repository.start()
    write_tiny_bundle(root / "tiny" / "2", version="2", accuracy=0.0)
    await repository.refresh()
    await repository.refresh()
    assert read == ["1", "2"]
    await repository.refresh(retry=True)
    assert read == ["1", "2", "2"]
    write_tiny_bundle(root / "tiny" / "2", version="2")
    await repository.refresh()
    assert version_found(repository) == "2"


async def test_a_version_whose_folder_is_gone_is_let_go(root: Path, make: Made) -> None:
    put_version(root, 1)
    gone = put_version(root, 2)
    repository, changes = make(max_versions=2), Changes()
    await repository.start()
    repository.subscribe(changes.hear)
    gone.rename(root / "tiny" / ".2")
    await repository.refresh()
    # Once when it is let go and once when it is forgotten.
    await changes.until(lambda: changes.told.count(("tiny", "2", False)) == 2)
    assert version_found(repository) == "1"
    assert states(repository) == {"tiny/1": "READY"}


async def test_a_model_goes_only_while_another_answers(root: Path, make: Made) -> None:
    put_version(root, 1, name="one")
    put_version(root, 1, name="two")
    repository = make()
    await repository.start()
    (root / "one").rename(root / ".one")
    await repository.refresh()
    with pytest.raises(NotFound):
        repository.find("one", version="")
    (root / "two").rename(root / ".two")
    with pytest.raises(BundleError, match="holds no model"):
        await repository.refresh()
    assert version_found(repository, "two") == "1"


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


async def test_one_bundle_is_replaced_in_its_place(tmp_path: Path, make: Made) -> None:
    write_tiny_bundle(tmp_path / "tiny", version="3")
    repository = make(source=OneBundle(tmp_path / "tiny"))
    await repository.start()
    write_tiny_bundle(tmp_path / "tiny", version="4")
    await repository.refresh()
    assert version_found(repository) == "4"
    with pytest.raises(NotFound):
        repository.find("tiny", version="3")


async def test_one_bundle_of_another_name_must_work_to_take_over(
    tmp_path: Path, make: Made
) -> None:
    write_tiny_bundle(tmp_path / "tiny")
    repository = make(source=OneBundle(tmp_path / "tiny"))
    await repository.start()
    write_tiny_bundle(tmp_path / "tiny", id="other")
    tokenizer = tmp_path / "tiny" / "tokenizer.json"
    tokenizer.write_bytes(b"{}")
    await repository.refresh()
    assert version_found(repository, "tiny") == "3"
    tokenizer.write_bytes(tiny_files()["tokenizer.json"])
    await repository.refresh()
    assert version_found(repository, "other") == "3"
    with pytest.raises(NotFound):
        repository.find("tiny", version="")


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
