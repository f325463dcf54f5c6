"""The engine that a request is meant for."""

import pytest

from diffmask_service.engine import Engine
from diffmask_service.errors import NotFound
from diffmask_service.repository import ModelEntry, ModelState, Repository


@pytest.mark.parametrize(
    ("model", "version"), [("", ""), ("tiny", ""), ("", "3"), ("tiny", "3")]
)
def test_the_served_model_is_found(engine: Engine, model: str, version: str) -> None:
    assert Repository([engine]).find(model, version=version) is engine


@pytest.mark.parametrize(("model", "version"), [("huge", ""), ("", "4")])
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
