"""Versions that come, go, spoil and mend while others answer."""

import asyncio
from pathlib import Path

import pytest

from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.errors import BundleError, NotFound, NotReadyError
from diffmask_service.repository import OneBundle
from tests.support.engine import explain_one
from tests.support.repository import (
    Changes,
    Made,
    put_bad_version,
    put_version,
    reason,
    states,
    version_found,
)
from tests.support.tiny import tiny_files, write_tiny_bundle


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
