"""`diffmask audit`."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
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

from diffmask_service.cli.arguments import count, seconds
from diffmask_service.cli.connection import add_security, add_server, connect_async
from diffmask_service.cli.output import say
from diffmask_service.cli.report import add_options as add_report_options
from diffmask_service.cli.report import draw, require_tables
from diffmask_service.engine.limits import count_cores
from diffmask_service.errors import InvalidInput

if TYPE_CHECKING:
    from diffmask_service.audit import Answering, AuditSettings, Source
    from diffmask_service.audit.report import Removing

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
    _add_places(parser)
    _add_options(parser)
    _add_report(parser)


def run(arguments: argparse.Namespace) -> int:
    """Audit, and say where the figures are."""
    if arguments.server is None and (arguments.model or arguments.version):
        raise InvalidInput(
            "--model, --version: choose among the models of a server; a bundle is one"
        )
    if arguments.bundle is None and arguments.precision is not None:
        raise InvalidInput(
            "--precision: goes with --bundle; a server has chosen its own"
        )
    require_tables()
    say(f"wrote {asyncio.run(_audit(arguments))}")
    say(f"wrote {draw(arguments.output, arguments)}")
    return 0


async def _audit(arguments: argparse.Namespace) -> Path:
    # Here and not above: the other commands do without pyarrow.
    from diffmask_service.audit import (  # noqa: PLC0415
        AuditSettings,
        Columns,
        open_source,
        run_audit,
    )
    from diffmask_service.audit.report import (  # noqa: PLC0415
        find_shortcuts,
        open_audit,
    )

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
    async with _asked(arguments, settings) as asked:
        with _progress(source) as on_row:
            written = await run_audit(
                source, asked.answering, arguments.output, settings, on_row=on_row
            )
        if not settings.hash_texts:
            await find_shortcuts(
                open_audit(arguments.output),
                asked.removing,
                num_words=arguments.shortcut_words,
            )
        return written


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One model, the way that an audit asks it, and the way that its report does."""

    answering: "Answering"
    removing: "Removing"


@asynccontextmanager
async def _asked(
    arguments: argparse.Namespace, settings: "AuditSettings"
) -> AsyncIterator[_Asked]:
    from diffmask_service.app import open_engine  # noqa: PLC0415
    from diffmask_service.audit import (  # noqa: PLC0415
        BundleAnswers,
        ServerAnswers,
        audit_limits,
    )
    from diffmask_service.audit.report import (  # noqa: PLC0415
        BundleRemoving,
        ServerRemoving,
    )

    if arguments.bundle is not None:
        engine = open_engine(
            arguments.bundle,
            precision=arguments.precision,
            limits=audit_limits(arguments.workers or count_cores()),
        )
        try:
            yield _Asked(
                answering=BundleAnswers(engine, truncate=settings.truncate),
                removing=BundleRemoving(engine),
            )
        finally:
            engine.close()
        return
    client = connect_async(arguments, timeout_seconds=arguments.timeout_seconds)
    async with client:
        model = await client.get_model(arguments.model, arguments.version)
        yield _Asked(
            answering=ServerAnswers(
                client, model, name=arguments.model, truncate=settings.truncate
            ),
            removing=ServerRemoving(client, model.identity, name=arguments.model),
        )


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


def _add_places(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--bundle",
        metavar="DIR",
        type=Path,
        help="Run this bundle here, without a server. [none]",
    )
    add_server(place)
    parser.set_defaults(server=None)
    add_security(parser)
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="Which graph of the bundle to run: fp32, fp16, int8 or w8. [the bundle's"
        " choice]",
    )
    parser.add_argument(
        "--workers",
        metavar="COUNT",
        type=count,
        help="Runs of the bundle's graph at the same time. [one a core]",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        default="",
        help="Which model of the server to ask. [the only one]",
    )
    parser.add_argument(
        "--version",
        metavar="NUMBER",
        default="",
        help="Which version of the model. [the highest that is ready]",
    )
    parser.add_argument(
        "--timeout-seconds",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="Longest wait of the server's for one text, seconds. [%(default)s]",
    )


def _add_options(parser: argparse.ArgumentParser) -> None:
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
