"""A model that is let go while it still works for a caller who has left."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from diffmask_service.bundle import Bundle
from diffmask_service.core.values import Outputs, TokenizedText
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.engine.feeds import Row
from diffmask_service.engine.loading import Loaded, load
from diffmask_service.engine.session import Session
from diffmask_service.engine.tokenizer import TextTokenizer
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from tests.support.engine import counted, explain_one
from tests.support.repository import Made, put_version, states
from tests.support.tiny import write_tiny_bundle


@dataclass
class Gate:
    """Holds up a thread until the test opens it, or until nobody will."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    is_open: threading.Event = field(default_factory=threading.Event)
    was_opened_in_time: bool = True

    def wait(self) -> None:
        self.has_begun.set()
        # A loop that waits for this thread can open nothing.
        self.was_opened_in_time = self.is_open.wait(10.0)


class HeldSession(Session):
    """The model's own, whose runs wait."""

    def __init__(self, inner: Session, gate: Gate) -> None:
        self.device = inner.device
        self._inner = inner
        self._gate = gate

    def run(self, rows: Sequence[Row], *, fetches: tuple[str, ...]) -> Outputs:
        self._gate.wait()
        return self._inner.run(rows, fetches=fetches)


class HeldTokenizer(TextTokenizer):
    """The model's own, which waits before each text."""

    def __init__(self, inner: TextTokenizer, gate: Gate) -> None:
        self._inner = inner
        self._gate = gate

    def tokenize(
        self, text: Any, *, truncate: bool = False, where: str = ""
    ) -> TokenizedText:
        self._gate.wait()
        return self._inner.tokenize(text, truncate=truncate, where=where)


def hold_runs(loaded: Loaded, gate: Gate) -> Loaded:
    return replace(loaded, session=HeldSession(loaded.session, gate))


def hold_tokenizing(loaded: Loaded, gate: Gate) -> Loaded:
    return replace(loaded, tokenizer=HeldTokenizer(loaded.tokenizer, gate))


Hold = Callable[[Loaded, Gate], Loaded]


@dataclass
class Held:
    """A repository whose model `tiny` is held up when it is first opened."""

    make: Made
    telemetry: Telemetry
    gate: Gate = field(default_factory=Gate)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    hold: Hold = hold_runs

    async def start(self) -> Repository:
        repository = self.make(open_engine=self._open, on_change=self.changed.set)
        await repository.start()
        return repository

    def _open(self, bundle: Bundle) -> Engine:
        # All text work leaves the loop.
        limits = EngineLimits(inline_tokens=0)
        if bundle.manifest.id != "tiny" or self.gate.has_begun.is_set():
            return Engine.open(bundle, limits=limits, telemetry=self.telemetry)
        loaded = load(bundle, precision=None)
        model = loaded.description
        of_model = self.telemetry.for_model(
            model.identity, states=model.states, threshold=model.hard_mask_threshold
        )
        held = self.hold(loaded, self.gate)
        return Engine(held, limits=limits, telemetry=of_model)

    async def leave_work_behind(self, repository: Repository) -> None:
        """Return when the model works for a caller who has left."""
        caller = asyncio.ensure_future(explain_one(repository.find("tiny", version="")))
        await asyncio.to_thread(self.gate.has_begun.wait)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        self.changed.clear()

    async def go_on(self) -> None:
        """Let it work on, and return when it is closed."""
        self.gate.is_open.set()
        async with asyncio.timeout(60.0):
            await self.changed.wait()


@pytest.fixture
def held(make: Made, telemetry: Telemetry) -> Iterator[Held]:
    made = Held(make=make, telemetry=telemetry)
    yield made
    made.gate.is_open.set()


@pytest.mark.parametrize("hold", [hold_runs, hold_tokenizing])
async def test_others_are_answered_while_a_model_that_was_let_go_still_works(
    root: Path, held: Held, hold: Hold
) -> None:
    put_version(root, 1)
    put_version(root, 1, name="other")
    held.hold = hold
    repository = await held.start()
    await held.leave_work_behind(repository)
    await repository.unload("tiny")
    for _ in range(3):
        assert (await explain_one(repository.find("other", version=""))).num_tokens == 6
    assert states(repository)["tiny/1"] == "UNLOADING"
    await held.go_on()
    assert held.gate.was_opened_in_time
    assert states(repository)["tiny/1"] == "UNAVAILABLE"


async def test_nothing_is_left_of_a_model_whose_last_run_nobody_waited_for(
    root: Path, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    put_version(root, 1)
    repository = await held.start()
    before = set(threading.enumerate())
    await held.leave_work_behind(repository)
    await repository.unload("tiny")
    await held.go_on()
    begun_since = set(threading.enumerate()) - before
    assert not [each.name for each in begun_since if "diffmask" in each.name]
    assert not [
        sample
        for family in held.telemetry.registry.collect()
        for sample in family.samples
        if sample.labels.get("model") == "tiny"
    ]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_run_that_nobody_waits_for_is_counted_for_the_next_of_its_version(
    root: Path, held: Held
) -> None:
    write_tiny_bundle(root / "tiny" / "3")
    repository = await held.start()
    await held.leave_work_behind(repository)
    write_tiny_bundle(root / "tiny" / "3", accuracy=0.5)
    await repository.refresh()
    # Which told of the new one.
    held.changed.clear()
    await explain_one(repository.find("tiny", version=""))
    await held.go_on()
    passes = "diffmask_forward_passes_total"
    assert counted(held.telemetry, passes, purpose="explain") == 2
    assert counted(held.telemetry, "diffmask_model_ready") == 1
    assert held.gate.was_opened_in_time
