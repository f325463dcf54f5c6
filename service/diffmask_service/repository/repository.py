"""The models that are served: which versions are loaded, and when they change.

A version is loaded on a thread of its own, proven, and only then takes over; the one
that it replaces answers until that moment, and ends what it began afterwards. A version
that cannot be used changes nothing but its own entry in the index.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    BundleError,
    DiffMaskError,
    NotFound,
    shown_name,
)
from diffmask_service.repository.entries import ModelEntry, ModelState
from diffmask_service.repository.loading import Loader
from diffmask_service.repository.shelf import Listener, Shelf, Slot
from diffmask_service.repository.sources import Candidate, Source

_LOG = logging.getLogger(__name__)
# Every request has a deadline of at most this, so an engine that is let go ends sooner.
_LONGEST_DRAIN_SECONDS = 86_400.0


def _nothing() -> None:
    pass


class Repository:
    """The engines of one server; lives on one event loop.

    Whoever finds an engine must begin to use it before the next `await`: an engine that
    is found may be drained as soon as the loop is free.

    Args:
        engines: Engines that are open already, one for each version of each model.
        source: Where more is found; None for nowhere.
        open_engine: Makes an engine of a checked bundle; runs off the loop.
        max_versions: Versions of a model that stay loaded, the highest first, >= 1.
        on_change: Called on the loop after a version has begun to answer, and after an
            engine that no longer does has been closed.
    """

    def __init__(
        self,
        engines: Sequence[Engine] = (),
        *,
        source: Source | None = None,
        open_engine: Callable[[Bundle], Engine] = Engine.open,
        max_versions: int = 1,
        on_change: Callable[[], None] = _nothing,
    ) -> None:
        self._shelf = Shelf()
        self._loader = Loader(source, open_engine)
        self._max_versions = max_versions
        self._on_change = on_change
        self._unloaded: set[str] = set()
        self._leaving: dict[Engine, asyncio.Task[None]] = {}
        # The loop itself would forget them.
        self._loading: set[asyncio.Task[None]] = set()
        # One change at a time; requests never wait for it.
        self._changing = asyncio.Lock()
        for engine in engines:
            identity = engine.description.identity
            self._shelf.put(
                Slot(
                    name=identity.id,
                    version=int(identity.version),
                    state=ModelState.READY,
                    engine=engine,
                )
            )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines that take requests, by model name, then by version."""
        return tuple(slot.engine for slot in self._shelf.slots if slot.engine)

    @property
    def is_ready(self) -> bool:
        """Whether some model answers."""
        return any(slot.is_ready for slot in self._shelf.slots)

    def find(self, model: str, *, version: str) -> Engine:
        """Return the engine that a request is meant for.

        Args:
            model: Name that the caller gave; empty for the only one served.
            version: Version that the caller gave; empty for the highest that is ready.

        Raises:
            NotFound: Another model or version is served.
            NotReadyError: It is being loaded, or could not be.
            InvalidInput: Several models are served and none is named.
        """
        return self._shelf.find(model, version=version)

    def index(self) -> tuple[ModelEntry, ...]:
        """Return what is known of every version, whether it answers or not."""
        return self._shelf.index()

    def subscribe(self, listener: Listener) -> None:
        """Tell a listener about the readiness of every version, now and at changes.

        Args:
            listener: Gets the name of a model, its version, and whether it answers.
        """
        self._shelf.subscribe(listener)

    async def start(self) -> None:
        """Load what lies in the source.

        Raises:
            BundleError: No model at all can be used; the error names what is wrong.
            StartError: ONNX Runtime is not installed.
        """
        await self.refresh()
        errors = [slot.error for slot in self._shelf.slots if slot.error]
        if self.engines or not errors:
            return
        if len(errors) == 1:
            raise errors[0]
        reasons = (
            f"{entry.name}, version {entry.version}: {entry.reason}"
            for entry in self.index()
            if entry.reason
        )
        raise BundleError("no model can be used:\n  " + "\n  ".join(reasons))

    async def refresh(self, *, retry: bool = False) -> None:
        """Look at the source again, and load and let go what has changed.

        Args:
            retry: Whether to try once more what could not be used and is unchanged.

        Raises:
            BundleError: Nothing is found there; everything stays as it is.
        """
        async with self._changing:
            found = await self._loader.scan()
            wanted = [each for each in found if each.name not in self._unloaded]
            for candidate in wanted:
                self._expect(candidate)
            for _, versions in groupby(wanted, key=lambda each: each.name):
                await self._settle(tuple(versions), retry=retry)
            self._let_models_go({candidate.name for candidate in found})

    async def load(self, name: str) -> None:
        """Load a model that was unloaded, or look for changes of one that was not.

        What was begun goes on when the caller leaves: the thread that opens an engine
        cannot be stopped, and nobody else would take what it opens.

        Args:
            name: Of the model.

        Raises:
            NotFound: There is no such model.
            BundleError: Its highest version cannot be used; what answered before still
                does.
            NotReadyError: The server began to stop meanwhile.
        """
        loading = asyncio.create_task(self._load(name))
        self._loading.add(loading)
        loading.add_done_callback(self._loading.discard)
        await asyncio.shield(loading)

    async def unload(self, name: str) -> None:
        """Take a model out of service until it is loaded again.

        Its requests in progress are answered; that is not waited for.

        Args:
            name: Of the model.

        Raises:
            NotFound: There is no such model.
        """
        async with self._changing:
            slots = self._shelf.versions(name)
            if not slots:
                raise _unknown(name)
            self._unloaded.add(name)
            for slot in slots:
                self._let_go(slot, note="unloaded on request", is_gone=False)

    async def drain(self, timeout_seconds: float) -> bool:
        """Refuse new requests and wait for those in progress; load nothing more.

        Args:
            timeout_seconds: Longest wait, seconds, >= 0.

        Returns:
            Whether all of them ended in time.
        """
        self._loader.stop()
        ended = await asyncio.gather(
            *(
                engine.drain(timeout_seconds)
                for engine in (*self.engines, *self._leaving)
            )
        )
        return all(ended)

    def close(self) -> None:
        """Fail what still waits and free the threads; nothing is of use any more."""
        for engine, leaving in self._leaving.items():
            leaving.cancel()
            engine.close()
        self._leaving.clear()
        for engine in self.engines:
            engine.close()
        self._loader.close()

    async def _load(self, name: str) -> None:
        async with self._changing:
            if not self._loader.has_source and not self._shelf.versions(name):
                raise _unknown(name)
            versions = tuple(
                each for each in await self._loader.scan() if each.name == name
            )
            if not versions:
                raise _unknown(name)
            self._unloaded.discard(name)
            for candidate in versions:
                self._expect(candidate)
            await self._settle(versions, retry=True)
            highest = self._shelf.get(name, versions[0].version)
        if highest is not None and highest.error is not None:
            raise highest.error

    def _expect(self, candidate: Candidate) -> None:
        if self._shelf.get(candidate.name, candidate.version) is None:
            slot = Slot(
                name=candidate.name,
                version=candidate.version,
                state=ModelState.LOADING,
            )
            self._shelf.put(slot)

    async def _settle(self, versions: Sequence[Candidate], *, retry: bool) -> None:
        kept: set[int] = set()
        for candidate in versions:
            if len(kept) == self._max_versions:
                break
            if await self._is_good(candidate, retry=retry):
                kept.add(candidate.version)
        # As long as no version that lies there is good, what answered before does so
        # still, whatever became of its files.
        if kept:
            self._let_rest_go(versions, kept)

    def _let_models_go(self, present: set[str]) -> None:
        slots = self._shelf.slots
        # What came in their place must work first.
        if any(slot.engine and slot.name in present for slot in slots):
            for slot in slots:
                if slot.name not in present:
                    self._let_go(slot, note="its folder is gone", is_gone=True)

    def _let_rest_go(self, versions: Sequence[Candidate], kept: set[int]) -> None:
        present = {candidate.version for candidate in versions}
        is_full = len(kept) == self._max_versions
        for slot in self._shelf.versions(versions[0].name):
            if slot.version not in present:
                self._let_go(slot, note="its folder is gone", is_gone=True)
            elif is_full and slot.version < min(kept):
                note = f"not among the {self._max_versions} highest that are kept"
                self._let_go(slot, note=note, is_gone=False)

    async def _is_good(self, candidate: Candidate, *, retry: bool) -> bool:
        slot = self._shelf.get(candidate.name, candidate.version)
        if slot is None:
            raise AssertionError("what is settled is on the shelf")
        if slot.engine and slot.engine.description.identity.digest == candidate.digest:
            self._shelf.put(replace(slot, error=None, tried=None))
            return True
        if slot.tried == candidate.facts and not retry:
            return slot.engine is not None
        if slot.engine is None:
            self._shelf.put(replace(slot, state=ModelState.LOADING, note=""))
        try:
            engine = await self._loader.open(candidate)
        except DiffMaskError as error:
            _LOG.error(
                "model %s, version %d cannot be used: %s",
                slot.name,
                slot.version,
                error,
            )
            state = ModelState.READY if slot.engine else ModelState.UNAVAILABLE
            self._shelf.put(
                replace(slot, state=state, error=error, tried=candidate.facts, note="")
            )
            return slot.engine is not None
        self._take_over(slot, engine)
        return True

    def _take_over(self, slot: Slot, engine: Engine) -> None:
        # In one turn of the loop: no request finds neither of the two.
        self._shelf.put(
            Slot(
                name=slot.name,
                version=slot.version,
                state=ModelState.READY,
                engine=engine,
            )
        )
        _LOG.info("model %s, version %d is ready", slot.name, slot.version)
        if slot.engine is not None:
            self._leave(slot.engine, _nothing)
        self._on_change()

    def _let_go(self, slot: Slot, *, note: str, is_gone: bool) -> None:
        leaving = Slot(
            name=slot.name,
            version=slot.version,
            state=ModelState.UNLOADING,
            note=note,
        )

        def rest() -> None:
            # Unless it was loaded again meanwhile.
            if self._shelf.get(slot.name, slot.version) is leaving:
                self._shelf.put(replace(leaving, state=ModelState.UNAVAILABLE))
                if is_gone:
                    self._shelf.drop(leaving)

        if slot.engine is not None:
            self._shelf.put(leaving)
            self._leave(slot.engine, rest)
        elif is_gone and slot.state is not ModelState.UNLOADING:
            self._shelf.drop(slot)
        elif slot.state is not ModelState.UNLOADING:
            self._shelf.put(replace(leaving, state=ModelState.UNAVAILABLE))

    def _leave(self, engine: Engine, then: Callable[[], None]) -> None:
        async def end() -> None:
            await engine.drain(_LONGEST_DRAIN_SECONDS)
            # What a caller left behind goes on, and others need the loop meanwhile.
            await engine.join()
            engine.close()
            del self._leaving[engine]
            then()
            # Once nothing here names the engine any more.
            asyncio.get_running_loop().call_soon(self._on_change)

        self._leaving[engine] = asyncio.create_task(end())


def _unknown(name: str) -> NotFound:
    return NotFound(f"the repository holds no model {shown_name(name)}")
