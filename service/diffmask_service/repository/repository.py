"""Finds the engine that a request is meant for."""

from collections.abc import Sequence

from diffmask_service.engine import Engine
from diffmask_service.errors import NotFound, shown_name
from diffmask_service.repository.entries import ModelEntry, ModelState


class Repository:
    """The engines of one server; lives on one event loop.

    Whoever finds an engine must begin to use it before the next `await`: an engine that
    is found may be drained as soon as the loop is free.

    Args:
        engines: One for each version of each model that is served.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines that answer, by model name, then by version."""
        return self._engines

    def find(self, model: str, *, version: str) -> Engine:
        """Return the engine that a request is meant for.

        Args:
            model: Name that the caller gave; empty for the only one served.
            version: Version that the caller gave; empty for the highest that is ready.

        Raises:
            NotFound: Another model or version is served.
        """
        for engine in self._engines:
            identity = engine.description.identity
            if model in ("", identity.id) and version in ("", identity.version):
                return engine
        wanted = f"{_shown(model)} of version {_shown(version)}"
        served = ", ".join(
            f"{entry.name!r} of version {entry.version}" for entry in self.index()
        )
        raise NotFound(f"no model {wanted} is served; there is {served}")

    def index(self) -> tuple[ModelEntry, ...]:
        """Return what is known of every version, whether it answers or not."""
        return tuple(_entry(engine) for engine in self._engines)


def _shown(name: str) -> str:
    return shown_name(name) if name else "any"


def _entry(engine: Engine) -> ModelEntry:
    description = engine.description
    return ModelEntry(
        name=description.identity.id,
        version=description.identity.version,
        state=ModelState.READY if description.is_ready else ModelState.UNAVAILABLE,
        reason="" if description.is_ready else "the model fails or is being stopped",
    )
