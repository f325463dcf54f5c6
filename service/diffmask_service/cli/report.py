"""`diffmask report`, and the report that `diffmask audit` ends with."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from diffmask_service.cli.output import say, write_whole
from diffmask_service.cli.places import require_tables

if TYPE_CHECKING:
    from diffmask_service.audit.report import Audit, Findings

REPORT = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Draw the report of a finished audit again, or beside another audit of the same"
        " data: one HTML file that opens offline. It shows the words that decide and,"
        " unless told otherwise, the whole texts that are explained worst; treat it as"
        " you treat the data."
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="The folder of a finished audit."
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="Where to write the page. [report.html in the folder]",
    )
    add_options(parser)


def add_options(parser: argparse._ActionsContainer) -> None:
    """Add what the report shows; `diffmask audit` takes the same."""
    parser.add_argument(
        "--against",
        metavar="DIR",
        type=Path,
        help="Folder of another audit of the same data, by another model or version,"
        " to be set beside this one. [none]",
    )
    parser.add_argument(
        "--no-texts",
        action="store_true",
        help="Leave whole texts out of the report; words that several texts share stay"
        " in.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw the page, and say where it is."""
    require_tables("a report")
    folder = arguments.folder
    findings = find(folder, open_against(arguments))
    draw(findings, arguments.output or folder / REPORT, arguments)
    return 0


def open_against(arguments: argparse.Namespace) -> "Audit | None":
    """Return the audit to be set beside another one; None where none is named.

    Args:
        arguments: With the options of `add_options`.

    Raises:
        InvalidInput: The folder holds no finished audit.
    """
    # Here and not above: the other commands do without pyarrow.
    from diffmask_service.audit.report import open_audit  # noqa: PLC0415

    return None if arguments.against is None else open_audit(arguments.against)


def find(
    folder: Path, against: "Audit | None", *, num_candidates: int = 0
) -> "Findings":
    """Return what a finished audit found.

    Args:
        folder: The audit's.
        against: Another audit of the same data; None for none.
        num_candidates: Words that are to be tested for being shortcuts; with 0 the
            outcome of an earlier test is read.

    Raises:
        InvalidInput: The folder holds no finished audit, or the two are of different
            data.
    """
    from diffmask_service.audit.report import (  # noqa: PLC0415
        find_tagger,
        gather,
        open_audit,
    )

    return gather(
        open_audit(folder),
        tagger=find_tagger(),
        against=against,
        num_candidates=num_candidates,
    )


def draw(findings: "Findings", path: Path, arguments: argparse.Namespace) -> None:
    """Write a report and say where it is.

    Args:
        findings: What it shows.
        path: Where.
        arguments: With the options of `add_options`.

    Raises:
        InvalidInput: It cannot be written.
    """
    from diffmask_service.audit.report import render_report  # noqa: PLC0415

    write_whole(path, render_report(findings, with_texts=not arguments.no_texts))
    say(f"wrote {path}")
