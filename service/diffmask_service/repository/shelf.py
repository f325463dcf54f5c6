"""The table of what is served: how each version stands, and which engine answers it.

Lives on one event loop and never waits, so that whoever looks sees one consistent
state. What to load and what to let go is the repository's business.
"""

from collections.abc import Callable
from dataclasses import dataclass

from diffmask_service.bundle import Facts
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    DiffMaskError,
    InvalidInput,
    NotFound,
    NotReadyError,
    shown_name,
)
from diffmask_service.repository.entries import ModelEntry, ModelState

Listener = Callable[[str, str, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One version of a model.

    Attributes:
        name: Of the model.
        version: Its number.
        state: How it stands; what an engine says of itself goes before it.
        engine: What answers; None when nothing does.
        note: Why nothing does, when no error is to blame.
        error: What was wrong with the content last tried; None if nothing was.
        tried: That content.
    """

    name: str
    version: int
    state: ModelState
    engine: Engine | None = None
    note: str = ""
    error: DiffMaskError | None = None
    tried: Facts | None = None

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered."""
        return self.engine is not None and self.engine.is_ready

    @property
    def is_expected(self) -> bool:
        """Whether it should answer and does not, for now."""
        return self.engine is None and (
            self.state is ModelState.LOADING or self.error is not None
        )


class Shelf:
    """The versions of all models."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[int, Slot]] = {}
        self._told: dict[tuple[str, int], bool] = {}
        self._listeners: list[Listener] = []

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All versions, by model name, then by version."""
        return tuple(
            slot
            for _, versions in sorted(self._slots.items())
            for _, slot in sorted(versions.items())
        )

    def versions(self, name: str) -> tuple[Slot, ...]:
        """Return the versions of a model, the highest first; none if it is unknown."""
        found = self._slots.get(name, {})
        return tuple(found[number] for number in sorted(found, reverse=True))

    def get(self, name: str, version: int) -> Slot | None:
        """Return one version, or None if it is unknown."""
        return self._slots.get(name, {}).get(version)

    def put(self, slot: Slot) -> None:
        """Enter a version, or enter it anew."""
        before, engine = self.get(slot.name, slot.version), slot.engine
        self._slots.setdefault(slot.name, {})[slot.version] = slot
        self._announce(slot.name, slot.version)
        if engine is not None and (before is None or before.engine is not engine):
            engine.on_readiness(lambda _: self._hear(slot, engine))

    def drop(self, slot: Slot) -> None:
        """Forget a version; listeners hear once more that it is not ready."""
        versions = self._slots[slot.name]
        del versions[slot.version]
        if not versions:
            del self._slots[slot.name]
        self._announce(slot.name, slot.version, is_last=True)

    def subscribe(self, listener: Listener) -> None:
        """Tell a listener about the readiness of every version, now and at changes."""
        self._listeners.append(listener)
        for (name, version), is_ready in sorted(self._told.items()):
            listener(name, str(version), is_ready)

    def find(self, model: str, *, version: str) -> Engine:
        """Return the engine that a request is meant for.

        Args:
            model: Name that the caller gave; empty for the only one.
            version: Version that the caller gave; empty for the highest that is ready.

        Raises:
            NotFound: No such model or version.
            NotReadyError: It is being loaded, or could not be.
            InvalidInput: There are several models and none is named.
        """
        slots = [
            slot
            for slot in self.versions(model or self._only_name())
            if version in ("", str(slot.version))
        ]
        answering = [slot.engine for slot in slots if slot.engine is not None]
        # An unhealthy version is better than none: only a request that succeeds can
        # prove that it works again.
        ready = (engine for engine in answering if engine.is_ready)
        engine = next(ready, answering[0] if answering else None)
        if engine is not None:
            return engine
        raise self._nothing(model, version, slots)

    def index(self) -> tuple[ModelEntry, ...]:
        """Return what is known of every version, whether it answers or not."""
        return tuple(_entry(slot) for slot in self.slots)

    def _only_name(self) -> str:
        if len(self._slots) > 1:
            names = ", ".join(repr(name) for name in sorted(self._slots))
            raise InvalidInput(f"several models are served; name one of {names}")
        return next(iter(self._slots), "")

    def _nothing(
        self, model: str, version: str, slots: list[Slot]
    ) -> NotFound | NotReadyError:
        wanted = _wanted(model, version)
        if any(slot.state is ModelState.LOADING for slot in slots):
            return NotReadyError(f"the {wanted} is being loaded; try again soon")
        if any(slot.is_expected for slot in slots):
            return NotReadyError(
                f"the {wanted} could not be loaded; the index of the repository"
                " tells why"
            )
        served = ", ".join(
            f"{slot.name!r} of version {slot.version}"
            for slot in self.slots
            if slot.engine is not None or slot.is_expected
        )
        return NotFound(f"no {wanted} is served; there is {served or 'none at all'}")

    def _hear(self, slot: Slot, engine: Engine) -> None:
        # An engine that is no longer in its slot has nothing to tell.
        present = self.get(slot.name, slot.version)
        if present is not None and present.engine is engine:
            self._announce(slot.name, slot.version)

    def _announce(self, name: str, version: int, *, is_last: bool = False) -> None:
        slot = self.get(name, version)
        is_ready = slot is not None and slot.is_ready
        if self._told.get((name, version)) is is_ready and not is_last:
            return
        self._told[name, version] = is_ready
        if is_last:
            del self._told[name, version]
        for listener in self._listeners:
            listener(name, str(version), is_ready)


def _wanted(model: str, version: str) -> str:
    named = f"model {shown_name(model)}" if model else "model"
    return f"{named} of version {shown_name(version)}" if version else named


def _entry(slot: Slot) -> ModelEntry:
    state, reason = slot.state, slot.note if slot.error is None else str(slot.error)
    if slot.engine is not None and not slot.is_ready:
        state = ModelState.UNAVAILABLE
        reason = reason or "the model fails or is being stopped"
    return ModelEntry(
        name=slot.name, version=str(slot.version), state=state, reason=reason
    )
