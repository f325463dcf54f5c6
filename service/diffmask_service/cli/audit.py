"""`diffmask audit`."""

import argparse
import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from diffmask_service.bundle import read_bundle
from diffmask_service.cli.arguments import count
from diffmask_service.cli.output import say
from diffmask_service.cli.places import (
    add_places,
    check_places,
    open_model,
    require_tables,
)
from diffmask_service.cli.report import REPORT, draw, find, open_against
from diffmask_service.cli.report import add_options as add_report_options
from diffmask_service.errors import InvalidInput

if TYPE_CHECKING:
    from diffmask_service.audit import Answering, PartMaker, Source
    from diffmask_service.audit.report import Findings

_LOCAL, _RAY = "local", "ray"
_MAX_ROWS_PER_PART = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Explain every text of a file, check each explanation against the model, and"
        " write tables, figures and report.html. The tables hold every text, and the"
        " report the texts that are explained worst (--hash-texts, --no-texts). Run the"
        " same command again to go on where it ended."
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        type=Path,
        help="A .csv, .tsv, .jsonl, .parquet or .arrow file, or the folder of a saved"
        " Hugging Face data set.",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="Folder for the results; new, or that of an earlier run of this audit.",
    )
    _add_columns(parser)
    add_places(parser)
    _add_options(parser)
    _add_report(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit, and say where the figures are."""
    check_places(arguments, precision=arguments.precision)
    _check_engine(arguments)
    require_tables("an audit")
    findings = asyncio.run(_audit(arguments))
    draw(findings, arguments.output / REPORT, arguments)
    return 0


async def _audit(arguments: argparse.Namespace) -> "Findings":
    # Here and not above: the other commands do without pyarrow.
    from diffmask_service.audit import (  # noqa: PLC0415
        AuditSettings,
        Columns,
        open_source,
        run_audit,
    )
    from diffmask_service.audit.report import (  # noqa: PLC0415
        check_comparable,
        find_shortcuts,
    )

    against = open_against(arguments)
    source = open_source(
        arguments.input,
        Columns(
            text=arguments.text_column,
            pair=arguments.pair_column,
            label=arguments.label_column,
            slice=arguments.slice_column,
            rationale=arguments.rationale_column,
            id=arguments.id_column,
        ),
    )
    settings = AuditSettings(
        truncate=arguments.truncate,
        hash_texts=arguments.hash_texts,
        keep_errors=arguments.on_error == "row",
        rows_per_part=arguments.rows_per_part,
    )
    opened = open_model(
        arguments, precision=arguments.precision, truncate=settings.truncate
    )
    async with opened as model:
        if against is not None:
            # Found at the end, this would cost all the answers.
            task = model.answering.model.task.value
            planned = {**source.identity, "task": task}
            check_comparable(against, arguments.output, planned)
        with (
            _open_maker(arguments, model.answering) as maker,
            _progress(source) as on_row,
        ):
            written = await run_audit(
                source, maker, arguments.output, settings, on_row=on_row
            )
        say(f"wrote {written}")
        num_candidates = arguments.shortcut_words
        findings = find(arguments.output, against, num_candidates=num_candidates)
        if not num_candidates:
            return findings
        shortcuts = await find_shortcuts(
            findings.audit, findings.vocabulary.candidates, model.removing
        )
        return replace(findings, shortcuts=shortcuts)


@contextmanager
def _open_maker(
    arguments: argparse.Namespace, answering: "Answering"
) -> Iterator["PartMaker"]:
    from diffmask_service.audit import PartsHere  # noqa: PLC0415

    if arguments.engine == _LOCAL:
        yield PartsHere(answering)
        return
    from diffmask_service.audit.on_ray import (  # noqa: PLC0415
        PartsOnRay,
        joined_cluster,
    )

    bundle = read_bundle(arguments.bundle)
    joined = joined_cluster(arguments.ray_address, num_workers=arguments.workers)
    with joined as num_workers:
        yield PartsOnRay(bundle, precision=arguments.precision, num_workers=num_workers)


def _check_engine(arguments: argparse.Namespace) -> None:
    if arguments.engine == _RAY and arguments.bundle is None:
        raise InvalidInput(
            "--engine ray: its workers open a bundle; name one with --bundle"
        )
    if arguments.engine != _RAY and arguments.ray_address is not None:
        raise InvalidInput("--ray-address: goes with --engine ray")


class _Rate(ProgressColumn):
    """Texts a second, over the last while."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f}/s")


@contextmanager
def _progress(source: "Source") -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("audit", total=source.num_rows)
        yield lambda num_rows: shown.advance(task, num_rows)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("columns of the input")
    group.add_argument(
        "--text-column",
        metavar="NAME",
        default="text",
        help="The text, or the question. [%(default)s]",
    )
    for name, meaning in (
        ("pair", "The second text of a pair, or the context."),
        ("label", "The true label, by name or index, for accuracy."),
        ("slice", "What parts the texts into groups that are reported apart."),
        (
            "rationale",
            "What people marked, for the report: character ranges, 0 or 1 a word, or"
            " phrases.",
        ),
        ("id", "What a row is known by; its number where none is named."),
    ):
        group.add_argument(f"--{name}-column", metavar="NAME", help=f"{meaning} [none]")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="Which graph of the bundle to run: fp32, fp16, int8 or w8. [the bundle's"
        " choice]",
    )
    parser.add_argument(
        "--engine",
        choices=(_LOCAL, _RAY),
        default=_LOCAL,
        help="Where the bundle runs: in this process, or on a Ray cluster, whose"
        " machines must find INPUT under its path; the results are the same."
        " [%(default)s]",
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="The Ray cluster to join. [one on this machine, which ends with the"
        " audit]",
    )
    parser.add_argument(
        "--truncate",
        action="store_true",
        help="Cut a text that is too long instead of refusing it.",
    )
    parser.add_argument(
        "--on-error",
        choices=("stop", "row"),
        default="stop",
        help="What becomes of a row that cannot be explained: it ends the audit, or"
        " becomes a row with its error. [%(default)s]",
    )
    parser.add_argument(
        "--hash-texts",
        action="store_true",
        help="Write the sha256 of each text in its place, and no tokens.",
    )
    parser.add_argument(
        "--rows-per-part",
        metavar="COUNT",
        type=_rows_per_part,
        default=1000,
        help=f"Rows of one file, at most {_MAX_ROWS_PER_PART}; two such parts are in"
        " memory at a time. [%(default)s]",
    )


def _rows_per_part(text: str) -> int:
    value = count(text)
    if value > _MAX_ROWS_PER_PART:
        raise argparse.ArgumentTypeError(f"{text} is more than {_MAX_ROWS_PER_PART}")
    return value


def _add_report(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("report")
    group.add_argument(
        "--shortcut-words",
        metavar="COUNT",
        type=_num_words,
        default=30,
        help="Words that are tested for being shortcuts at the end, with at most 40"
        " runs of the model each; 0 for none. [%(default)s]",
    )
    add_report_options(parser)


def _num_words(text: str) -> int:
    return 0 if text == "0" else count(text)
