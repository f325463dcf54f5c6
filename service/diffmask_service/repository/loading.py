"""Engines of bundles in a source, opened one after the other beside the event loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from diffmask_service.bundle import Bundle
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    BundleError,
    FolderError,
    NotReadyError,
    StartError,
)
from diffmask_service.repository.sources import Candidate, Source

_LOG = logging.getLogger(__name__)
_Value = TypeVar("_Value")


class Loader:
    """Looks at a source, and opens what lies there, on a thread of its own.

    Args:
        source: Where bundles lie; None for nowhere.
        open_engine: Makes an engine of a checked bundle; runs off the loop.
    """

    def __init__(
        self, source: Source | None, open_engine: Callable[[Bundle], Engine]
    ) -> None:
        self._source = source
        self._open_engine = open_engine
        self._is_stopping = False
        self._thread = ThreadPoolExecutor(1, "diffmask-load")

    @property
    def has_source(self) -> bool:
        """Whether there is anywhere to load from."""
        return self._source is not None

    async def scan(self) -> tuple[Candidate, ...]:
        """Return what lies in the source, as `Source.scan` does.

        Raises:
            BundleError: There is no source, or nothing is found there.
        """
        if self._source is None:
            raise BundleError("the server has no repository to load models from")
        return await self._off_loop(self._source.scan)

    async def open(self, candidate: Candidate) -> Engine:
        """Return the engine of a bundle that was found, proven.

        Raises:
            BundleError: It cannot be used.
            StartError: ONNX Runtime is not installed.
            NotReadyError: The server began to stop meanwhile.
        """

        def read_and_open() -> Engine:
            source = self._source
            if source is None:
                raise AssertionError("a candidate comes from a source")
            return self._open_engine(source.read(candidate))

        try:
            engine = await self._off_loop(read_and_open)
        except FolderError as error:
            # What is wrong with a model is told to callers; where it lies is not.
            _LOG.error("%s", error)
            raise BundleError(
                "its folder cannot be opened any more; the server's log tells more"
            ) from error
        except (BundleError, StartError):
            raise
        # Whatever a bundle does to the libraries that read it, others are served.
        except Exception as error:
            _LOG.exception("loading %s failed unexpectedly", candidate.name)
            raise BundleError(
                f"loading failed unexpectedly ({type(error).__name__}); the server's"
                " log tells more"
            ) from error
        if self._is_stopping:
            engine.close()
            raise NotReadyError("the server is stopping; load the model at another")
        return engine

    def stop(self) -> None:
        """Give out no engine any more: one that is just being opened is closed."""
        self._is_stopping = True

    def close(self) -> None:
        """Stop, and free the thread; what is just being loaded is not waited for."""
        self.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _off_loop(self, work: Callable[[], _Value]) -> _Value:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
