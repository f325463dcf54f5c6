"""One audit from its input to its folder: part by part, going on where a run ended.

Parts have a fixed number of rows, so that what is in one depends on the input alone,
and not on when earlier runs ended. While a part is encoded and written, the next one is
being answered; more than these two are never in memory.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffmask_service.audit.answering import Answering
from diffmask_service.audit.folder import Folder
from diffmask_service.audit.rows import Row
from diffmask_service.audit.source import Source
from diffmask_service.audit.summary import FORMAT, summarise
from diffmask_service.audit.table import Audited, encode_part
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


async def run_audit(
    source: Source,
    answering: Answering,
    directory: Path,
    settings: AuditSettings,
    *,
    on_row: Callable[[int], None] = lambda _: None,
) -> Path:
    """Explain every row of an input, or those that an earlier run left.

    Args:
        source: The input.
        answering: Explains the texts; truncates as the settings say.
        directory: The audit's folder.
        settings: How.
        on_row: Told of each number of rows that is done, those of earlier runs first.

    Returns:
        Where the summary is.

    Raises:
        InvalidInput: The folder is another audit's or cannot be written, or a row
            cannot be explained and errors are not kept.
        DiffMaskError: Nobody answers any more.
    """
    identity = _identity(source, answering, settings)
    with Folder(directory, identity) as folder:
        if any(part.num_errors for part in folder.parts) and not settings.keep_errors:
            raise InvalidInput(
                f"{directory}: an earlier run kept rows that could not be explained;"
                " run with --on-error row, or audit into a new folder"
            )
        on_row(sum(part.num_rows for part in folder.parts))
        await _write_parts(source, answering, folder, settings, on_row)
        figures = await asyncio.to_thread(summarise, folder.part_paths, answering.model)
        return folder.write_summary({**identity, **figures})


def _identity(
    source: Source, answering: Answering, settings: AuditSettings
) -> dict[str, Any]:
    # All that the parts depend on. How errors are met is not among it, so that a run
    # which met one can go on.
    return {
        "format": FORMAT,
        "model": asdict(answering.model.identity),
        "input_sha256": source.digest,
        "num_input_rows": source.num_rows,
        "columns": asdict(source.columns),
        "truncate": settings.truncate,
        "hash_texts": settings.hash_texts,
        "rows_per_part": settings.rows_per_part,
    }


async def _write_parts(
    source: Source,
    answering: Answering,
    folder: Folder,
    settings: AuditSettings,
    on_row: Callable[[int], None],
) -> None:
    def write(audited: Sequence[Audited]) -> None:
        folder.add_part(
            encode_part(audited, answering.model, hash_texts=settings.hash_texts),
            num_rows=len(audited),
            num_errors=sum(each.error is not None for each in audited),
        )

    rows = source.rows(sum(part.num_rows for part in folder.parts))
    writing: asyncio.Future[None] | None = None
    try:
        while taken := list(itertools.islice(rows, settings.rows_per_part)):
            audited = await _answer(taken, answering, settings, on_row)
            if writing is not None:
                await writing
            writing = asyncio.ensure_future(asyncio.to_thread(write, audited))
    finally:
        if writing is not None:
            await writing


async def _answer(
    rows: Sequence[Row],
    answering: Answering,
    settings: AuditSettings,
    on_row: Callable[[int], None],
) -> list[Audited]:
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
