"""Whether callers can tell who shares a run with them, for every graph of a bundle.

Each text is asked for alone, then in groups, reordered, all at once, and among hostile
mates: texts of the very same length with the largest activations that the vocabulary
gives, the longest ones, and one that is refused. Every logit and every gate must be the
same, bit by bit.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from diffmask_service.app import open_engine
from diffmask_service.bundle import read_bundle
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine, EngineLimits
from diffmask_service.errors import RequestError
from diffmask_service.telemetry import Telemetry
from diffmask_service.wire.converters import reply_to_proto

# Several of equal length, so that groups form, and some of lengths of their own.
TEXTS = (
    "A fast , funny , highly enjoyable movie .",
    "A slow , dull , hardly bearable movie .",
    "A warm , clever , truly moving story .",
    "good",
    "bad",
    "not at all what it could have been",
    "the actors do their best with a script that gives them nothing to do at all",
)
_LONGEST_WORDS = 600


def main() -> None:
    """Compare every graph of a bundle and fail if any answer differs."""
    arguments = _parse()
    figures: dict[str, dict[str, int]] = {
        precision: asyncio.run(compare(arguments.bundle, precision=precision))
        for precision in read_bundle(arguments.bundle).manifest.graphs
    }
    print("\n".join(describe(figures)))
    store("isolation", figures, arguments=arguments)
    sys.exit(1 if any(counts["different"] for counts in figures.values()) else 0)


async def compare(bundle: Path, *, precision: str, workers: int = 2) -> dict[str, int]:
    """Return how many answers of a graph were compared, and how many differ.

    Beside them stands how many texts joined the run of another: without any, nothing
    was tried.

    Args:
        bundle: Which.
        precision: Which of its graphs.
        workers: Runs at the same time.
    """
    limits = EngineLimits(workers=workers, queue_tokens=1 << 30)
    telemetry = Telemetry()
    engine = await asyncio.to_thread(
        open_engine, bundle, precision=precision, limits=limits, telemetry=telemetry
    )
    try:
        alone = {text: (await _answers(engine, [text]))[0] for text in TEXTS}
        requests = [list(order) for order in _companies()]
        refused = asyncio.ensure_future(_refuse(engine))
        at_once = await asyncio.gather(*(_answers(engine, each) for each in requests))
        one_by_one = [await _answers(engine, each) for each in requests]
        await refused
    finally:
        engine.close()
    replies = [*zip(requests, at_once, strict=True)]
    replies += zip(requests, one_by_one, strict=True)
    runs = _counted(telemetry, "diffmask_run_texts_count")
    passes = _counted(telemetry, "diffmask_forward_passes_total")
    return {**count_differences(alone, replies), "joined": passes - runs}


def count_differences(
    alone: Mapping[str, bytes],
    replies: Iterable[tuple[Sequence[str], Sequence[bytes]]],
) -> dict[str, int]:
    """Return how many answers were compared and how many differ.

    Args:
        alone: Answer to each text by itself; other texts are not compared.
        replies: Texts of a request and their answers.
    """
    compared = [
        alone[text] == answer
        for texts, answers in replies
        for text, answer in zip(texts, answers, strict=True)
        if text in alone
    ]
    return {"compared": len(compared), "different": compared.count(False)}


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [[name, *counts.values()] for name, counts in figures.items()]
    head = ["graph", "answers compared", "different", "texts that joined a run"]
    return table(head, rows)


def _companies() -> Iterator[Sequence[str]]:
    yield TEXTS
    yield TEXTS[::-1]
    yield TEXTS * 2
    yield TEXTS[:3] * 8
    for text in TEXTS:
        yield [text, *_hostile_mates(text)] * 2
        yield [*_hostile_mates(text), text]


def _hostile_mates(text: str) -> list[str]:
    # Of the same length in words, hence mostly in tokens, and of the longest there is.
    words = len(text.split())
    pieces = ("! ", "\u4e2d ", "zzz ", "[MASK] ", "0 ")
    return [*((piece * words).strip() for piece in pieces), "fun " * _LONGEST_WORDS]


async def _answers(engine: Engine, texts: Sequence[str]) -> list[bytes]:
    reply = await engine.explain(
        [TextInput(text=text) for text in texts],
        ExplainOptions(truncate=True),
        deadline=float("inf"),
    )
    # The bytes that go over the wire: gates as they are, logits as float32.
    return [
        explanation.SerializeToString(deterministic=True)
        for explanation in reply_to_proto(reply).explanations
    ]


def _counted(telemetry: Telemetry, name: str) -> int:
    samples = (s for metric in telemetry.registry.collect() for s in metric.samples)
    return int(sum(sample.value for sample in samples if sample.name == name))


async def _refuse(engine: Engine) -> None:
    try:
        await _answers(engine, [" "])
    except RequestError:
        return
    raise AssertionError("a text with nothing to read was answered")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
