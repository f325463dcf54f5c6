"""`diffmask report`, and the report that `diffmask audit` ends with."""

import argparse
from pathlib import Path

from diffmask_service.cli.output import say, write_whole
from diffmask_service.cli.places import require_tables


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
    say(f"wrote {draw(arguments.folder, arguments, to=arguments.output)}")
    return 0


def draw(
    folder: Path, arguments: argparse.Namespace, *, to: Path | None = None
) -> Path:
    """Write the report of a finished audit and return where.

    Args:
        folder: The audit's.
        arguments: With the options of `add_options`.
        to: Where; None for the folder.

    Raises:
        InvalidInput: A folder holds no finished audit, the two are of different data,
            or the page cannot be written.
    """
    # Here and not above: the other commands do without pyarrow.
    from diffmask_service.audit.report import (  # noqa: PLC0415
        find_tagger,
        gather,
        open_audit,
        render_report,
    )

    against = None if arguments.against is None else open_audit(arguments.against)
    findings = gather(open_audit(folder), tagger=find_tagger(), against=against)
    path = to or folder / "report.html"
    write_whole(path, render_report(findings, with_texts=not arguments.no_texts))
    return path
