"""`diffmask replay`."""

import argparse
import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

from diffmask_service.cli.arguments import count
from diffmask_service.cli.asking import ask
from diffmask_service.cli.output import say
from diffmask_service.cli.places import (
    add_places,
    check_places,
    open_model,
    require_tables,
)
from diffmask_service.core.values import Explanation, ModelIdentity
from diffmask_service.errors import InvalidInput
from diffmask_service.replay import (
    Comparison,
    Difference,
    Verdict,
    as_recorded,
    compare,
    differing_fields,
    read_reply,
)

if TYPE_CHECKING:
    from diffmask_service.audit import Answering
    from diffmask_service.replay.rows import RecordedRow

# Of those that differ; all of them are counted.
_MAX_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = (
        "Explain again what was explained before, and show that the same bits come"
        " out; or say what differs, with exit status 1."
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="What `explain --json` wrote, the folder of an audit, or one of its"
        " Parquet parts.",
    )
    add_places(parser)
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--row",
        metavar="NUMBER",
        type=int,
        help="Only this row of the audit, or this explanation, from 0. [all]",
    )
    chosen.add_argument(
        "--sample",
        metavar="COUNT",
        type=count,
        help="Only so many of them, drawn at random. [all]",
    )
    parser.add_argument(
        "--seed",
        metavar="NUMBER",
        type=int,
        default=0,
        help="Which are drawn. [%(default)s]",
    )
    parser.add_argument(
        "--tolerance",
        metavar="NUMBER",
        type=float,
        default=0.0,
        help="Let numbers differ by so much, as they may between kinds of processors or"
        " releases of ONNX Runtime; 0 asks for the same bits. [%(default)s]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Explain again, and say what differs."""
    check_places(arguments)
    if arguments.file.is_dir() or arguments.file.suffix == ".parquet":
        require_tables("an audit")
        return asyncio.run(_replay_rows(arguments))
    return _replay_reply(arguments)


def _replay_reply(arguments: argparse.Namespace) -> int:
    recorded = read_reply(arguments.file)
    chosen = _choose(arguments, len(recorded.inputs))
    report = ask(
        arguments,
        tuple(recorded.inputs[number] for number in chosen),
        recorded.options,
        precision=None if arguments.bundle is None else recorded.model.precision,
    )
    again = as_recorded(report)
    telling = _Telling(recorded.model, again.model, tolerance=arguments.tolerance)
    for number, after in zip(chosen, again.explanations, strict=True):
        before = recorded.explanations[number]
        telling.add(
            compare(
                f"explanation {number}",
                before,
                after,
                states=recorded.states,
                tokens=recorded.tokens(number),
                tolerance=arguments.tolerance,
            )
        )
    return telling.end()


def _choose(arguments: argparse.Namespace, num_recorded: int) -> Sequence[int]:
    numbers = range(num_recorded)
    if arguments.row is not None:
        if arguments.row not in numbers:
            raise _no_row(arguments)
        return (arguments.row,)
    if arguments.sample is not None and arguments.sample < num_recorded:
        chance = random.Random(arguments.seed)  # noqa: S311, a sample is no secret
        return sorted(chance.sample(numbers, arguments.sample))
    return numbers


async def _replay_rows(arguments: argparse.Namespace) -> int:
    # Here and not above: other commands do without pyarrow.
    from diffmask_service.replay.rows import open_rows  # noqa: PLC0415

    recorded = open_rows(arguments.file)
    chosen = None
    if arguments.row is not None:
        chosen = frozenset({arguments.row})
    elif arguments.sample is not None:
        chosen = recorded.sample(arguments.sample, seed=arguments.seed)
    # A text that was not cut before and is now differs, and is told like the rest.
    opened = open_model(arguments, precision=recorded.model.precision, truncate=True)
    async with opened as model:
        answering = model.answering
        telling = _Telling(
            recorded.model, answering.model.identity, tolerance=arguments.tolerance
        )
        num_without = 0
        for rows in recorded.read(chosen):
            explained = [row for row in rows if row.input is not None]
            num_without += len(rows) - len(explained)
            found = _compare(explained, answering, tolerance=arguments.tolerance)
            async for comparison in found:
                telling.add(comparison)
    if not telling.verdict.num_compared and not num_without:
        raise _no_row(arguments)
    if num_without:
        say(f"left out: {num_without} rows that hold an error and no explanation")
    return telling.end()


async def _compare(
    rows: "Sequence[RecordedRow]",
    answering: "Answering",
    *,
    tolerance: float,
) -> AsyncIterator[Comparison]:
    from diffmask_service.replay.rows import say_again  # noqa: PLC0415

    left = iter(rows)
    texts = [row.input for row in rows if row.input is not None]
    async with aclosing(answering.explain(texts)) as answers:
        async for answer in answers:
            row = next(left)
            if isinstance(answer, Explanation):
                yield compare(
                    row.name,
                    row.said,
                    say_again(row, answer, answering.model),
                    states=answering.model.states,
                    tokens=row.tokens,
                    tolerance=tolerance,
                )
            else:
                told = f"was given, is not any more: {answer}"
                refused = Difference(name="explanation", told=told)
                yield Comparison(name=row.name, differences=(refused,))


def _no_row(arguments: argparse.Namespace) -> InvalidInput:
    return InvalidInput(f"{arguments.file}: holds no row {arguments.row}")


class _Telling:
    """Tells of comparisons as they come, and what they come to.

    Args:
        before: Who answered.
        after: Who answers now.
        tolerance: Of numbers that count as the same.
    """

    def __init__(
        self, before: ModelIdentity, after: ModelIdentity, *, tolerance: float
    ) -> None:
        self.verdict = Verdict()
        self._how = f", within {tolerance:g}" if tolerance else ", bit for bit"
        self._model = after
        self._is_other = False
        for line in differing_fields(before, after):
            self._is_other = True
            say(line)

    def add(self, comparison: Comparison) -> None:
        """Tell of a comparison."""
        self.verdict.add(comparison)
        if not comparison.differences or self.verdict.num_differing > _MAX_SHOWN:
            return
        say(f"{comparison.name}:")
        for each in comparison.differences:
            say(f"  {each.name}: {each.told}")

    def end(self) -> int:
        """Tell what they come to, and return the exit status."""
        verdict, model = self.verdict, self._model
        name = f"{model.id} {model.version} ({model.precision}, digest {model.digest})"
        say(f"explained again by {name}")
        if not verdict.num_differing:
            count = verdict.num_compared
            what = "1 explanation" if count == 1 else f"all {count} explanations"
            say(f"same: {what}{self._how}")
            return int(self._is_other)
        say(
            f"different: {verdict.num_differing} of {verdict.num_compared} explanations"
        )
        largest = verdict.largest
        if largest is not None and largest.largest_of_gates is not None:
            found = largest.largest_of_gates
            say(f"largest difference of gates: {found.size:.9g}, in {largest.name}")
            say(f"  {found.name}: {found.told}")
        return 1
