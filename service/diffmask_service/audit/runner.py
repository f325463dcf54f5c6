"""One audit from its input to its folder: part by part, going on where a run ended."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffmask_service.audit.folder import Folder
from diffmask_service.audit.parts import AuditSettings, EncodedPart, PartMaker
from diffmask_service.audit.source import Source
from diffmask_service.audit.summary import FORMAT, summarise
from diffmask_service.errors import (
    DeadlineError,
    InvalidInput,
    NotReadyError,
    OverloadedError,
    ServerError,
)


async def run_audit(
    source: Source,
    maker: PartMaker,
    directory: Path,
    settings: AuditSettings,
    *,
    on_row: Callable[[int], None] = lambda _: None,
) -> Path:
    """Explain every row of an input, or those that an earlier run left.

    Args:
        source: The input.
        maker: Makes the parts.
        directory: The audit's folder.
        settings: How.
        on_row: Told of each number of rows that is done, those of earlier runs first.

    Returns:
        Where the summary is.

    Raises:
        InvalidInput: The folder is another audit's or cannot be written, the input
            changed meanwhile, or a row cannot be explained and errors are not kept.
        NotReadyError: Nobody answers any more; running it again goes on.
        DiffMaskError: Something else ended it.
    """
    identity = _identity(source, maker, settings)
    with Folder(directory, identity) as folder:
        if any(part.num_errors for part in folder.parts) and not settings.keep_errors:
            raise InvalidInput(
                f"{directory}: an earlier run kept rows that could not be explained;"
                " run with --on-error row, or audit into a new folder"
            )
        start = sum(part.num_rows for part in folder.parts)
        on_row(start)

        def deliver(part: EncodedPart) -> None:
            source.check_unchanged()
            folder.add_part(
                part.content, num_rows=part.num_rows, num_errors=part.num_errors
            )

        with _saying_how_to_go_on(directory):
            await maker.make(
                source, settings, start=start, deliver=deliver, on_row=on_row
            )
        figures = await asyncio.to_thread(summarise, folder.part_paths, maker.model)
        return folder.write_summary({**identity, **figures})


@contextmanager
def _saying_how_to_go_on(directory: Path) -> Iterator[None]:
    try:
        yield
    except (DeadlineError, NotReadyError, OverloadedError, ServerError) as error:
        raise NotReadyError(
            f"{error}. What was answered is kept in {directory}; run the same command"
            " again to go on"
        ) from error


def _identity(
    source: Source, maker: PartMaker, settings: AuditSettings
) -> dict[str, Any]:
    # All that the parts depend on. How errors are met is not among it, so that a run
    # which met one can go on.
    return {
        "format": FORMAT,
        "model": asdict(maker.model.identity),
        **source.identity,
        "truncate": settings.truncate,
        "hash_texts": settings.hash_texts,
        "rows_per_part": settings.rows_per_part,
    }
