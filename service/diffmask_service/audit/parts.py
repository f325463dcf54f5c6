"""Parts of an audit: answered, encoded, and handed over whole and in order.

A part is a fixed number of rows, so that what is in one depends on the input alone: not
on who made it, nor on when earlier runs ended.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from diffmask_service.audit.answering import Answering
from diffmask_service.audit.rows import Row
from diffmask_service.audit.source import Source
from diffmask_service.audit.table import Audited, encode_part
from diffmask_service.core.values import ModelDescription
from diffmask_service.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """How an audit is made.

    Attributes:
        truncate: Cut a text over the token limit instead of refusing it.
        hash_texts: Write the sha256 of each text in its place.
        keep_errors: A row that cannot be explained becomes a row with its error; it
            ends the audit otherwise.
        rows_per_part: Rows of a part, in [1, 100000]. More of them compress better and
            take more memory.
    """

    truncate: bool = False
    hash_texts: bool = False
    keep_errors: bool = False
    rows_per_part: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPart:
    """A part, ready to be written.

    Attributes:
        content: Its file's.
        num_rows: Rows in it.
        num_errors: Those of them without an explanation.
    """

    content: bytes
    num_rows: int
    num_errors: int


class PartMaker(Protocol):
    """Makes the parts of an audit; parts here are `PartsHere`."""

    @property
    def model(self) -> ModelDescription:
        """The model that answers all of them."""
        ...

    async def make(
        self,
        source: Source,
        settings: AuditSettings,
        *,
        start: int,
        deliver: Callable[[EncodedPart], None],
        on_row: Callable[[int], None],
    ) -> None:
        """Make every part from a row on.

        Args:
            source: The input.
            settings: How.
            start: The first row of the first part.
            deliver: Given the parts, in order, on a thread beside the event loop.
            on_row: Told of each number of rows that is done.

        Raises:
            InvalidInput: A row cannot be explained and errors are not kept; the parts
                before its own are delivered.
            DiffMaskError: Nobody answers any more; likewise.
        """
        ...


class PartsHere:
    """Parts that are made in this process.

    While a part is encoded and delivered, the next one is being answered; more than
    these two are never in memory.

    Args:
        answering: Explains the texts; truncates as the settings say.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    @property
    def model(self) -> ModelDescription:
        """The model that answers."""
        return self._answering.model

    async def make(
        self,
        source: Source,
        settings: AuditSettings,
        *,
        start: int,
        deliver: Callable[[EncodedPart], None],
        on_row: Callable[[int], None],
    ) -> None:
        """Make every part from a row on."""

        def finish(audited: Sequence[Audited]) -> None:
            deliver(encode(audited, self.model, settings))

        rows = source.rows(start)
        finishing: asyncio.Future[None] | None = None
        try:
            while taken := list(itertools.islice(rows, settings.rows_per_part)):
                audited = await answer(taken, self._answering, settings, on_row=on_row)
                if finishing is not None:
                    await finishing
                finishing = asyncio.ensure_future(asyncio.to_thread(finish, audited))
        finally:
            if finishing is not None:
                await finishing


def encode(
    audited: Sequence[Audited], model: ModelDescription, settings: AuditSettings
) -> EncodedPart:
    """Return the part that some rows make.

    Args:
        audited: The rows, in order.
        model: Who answered.
        settings: How.
    """
    return EncodedPart(
        content=encode_part(audited, model, hash_texts=settings.hash_texts),
        num_rows=len(audited),
        num_errors=sum(each.error is not None for each in audited),
    )


async def answer(
    rows: Sequence[Row],
    answering: Answering,
    settings: AuditSettings,
    *,
    on_row: Callable[[int], None] = lambda _: None,
) -> list[Audited]:
    """Return what became of some rows, in order.

    Args:
        rows: The rows.
        answering: Explains their texts.
        settings: How.
        on_row: Told of each number of rows that is done.

    Raises:
        InvalidInput: A row cannot be explained and errors are not kept.
        DiffMaskError: Nobody answers any more.
    """
    if not settings.keep_errors:
        for row in rows:
            if row.problem:
                raise _ended(row, row.problem)
    audited: list[Audited] = []
    texts = [row.input for row in rows if row.input is not None]
    left = iter(rows)
    async with aclosing(answering.explain(texts)) as answers:
        async for answer in answers:
            for row in left:
                audited.append(
                    Audited(row=row, answer=None if row.input is None else answer)
                )
                if row.input is not None:
                    break
            error = audited[-1].error
            if error is not None and not settings.keep_errors:
                raise _ended(audited[-1].row, error)
            on_row(1)
    audited.extend(Audited(row=row, answer=None) for row in left)
    on_row(len(rows) - len(texts))
    return audited


def _ended(row: Row, problem: str) -> InvalidInput:
    return InvalidInput(
        f"row {row.number} (id {row.id}): {problem.rstrip('.')}. Put it right in a new"
        " input, or run the same command with --on-error row to keep it as a row with"
        " its error"
    )
