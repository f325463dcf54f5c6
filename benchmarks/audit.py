"""What an audit costs over the bare engine and over predicting.

Three calls on the same texts, interleaved so that they meet the same machine:

- predict: the engine's predictions alone;
- bare: explained and verified, and the answers thrown away;
- audit: read from a file, explained, verified, and written with the summary.

Prints medians of the ratios of neighbouring runs by CPU time, which other work on the
machine disturbs less than the clock.

With `--engine ray`, what a cluster of one worker on this machine adds, by the clock.
"""

import argparse
import asyncio
import csv
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from diffmask_service.app import open_engine
from diffmask_service.audit import (
    Answering,
    AuditSettings,
    BundleAnswers,
    Columns,
    PartMaker,
    PartsHere,
    Source,
    audit_limits,
    open_source,
    run_audit,
)
from diffmask_service.audit.on_ray import PartsOnRay, joined_cluster
from diffmask_service.bundle import read_bundle
from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine

_WORDS = [
    "a",
    "good",
    "bad",
    "funny",
    "dull",
    "long",
    "short",
    "movie",
    "with",
    "some",
    "of",
    "the",
    "best",
    "acting",
]
_TEXTS_IN_PROGRESS = 64
_DEADLINE_SECONDS = 3600.0


def main() -> None:
    """Measure what was asked for, and print it."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.engine == "ray":
            figures = _compare_with_ray(folder, arguments)
        else:
            figures = asyncio.run(_compare_costs(folder, arguments))
    print("\n".join(describe(figures)))
    name = "audit" if arguments.engine == "local" else "audit_on_ray"
    store(name, figures, arguments=arguments)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    return table(["what", "figure"], [[name, figures[name]] for name in figures])


async def _compare_costs(
    folder: Path, arguments: argparse.Namespace
) -> dict[str, float]:
    path = write_texts(folder / "texts.csv", rows=arguments.rows)
    source = open_source(path, Columns())
    texts = [row.input for row in source.rows() if row.input is not None]
    engine = open_engine(arguments.bundle, limits=audit_limits(1))
    answering = BundleAnswers(engine, truncate=True)
    calls: Mapping[str, Callable[[], Awaitable[None]]] = {
        "predict": lambda: _predict(engine, texts),
        "bare": lambda: _explain(answering, texts),
        "audit": lambda: _audit(path, PartsHere(answering)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(arguments.rounds + 1):
        for name, call in calls.items():
            began = time.process_time()
            await call()
            # The first round warms up.
            if number:
                seconds[name].append(time.process_time() - began)
    engine.close()
    return {
        **{
            f"{name}, CPU seconds a text": statistics.median(found) / len(texts)
            for name, found in seconds.items()
        },
        "bare over audit (at least 0.85)": _ratio(seconds["bare"], seconds["audit"]),
        "bare over predict": _ratio(seconds["bare"], seconds["predict"]),
        "audit over predict (at most 2.2)": _ratio(
            seconds["audit"], seconds["predict"]
        ),
    }


def _ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(upper, lower, strict=True))


async def _predict(engine: Engine, texts: Sequence[TextInput]) -> None:
    options = ExplainOptions(gates=frozenset(), truncate=True)
    deadline = time.monotonic() + _DEADLINE_SECONDS
    for start in range(0, len(texts), _TEXTS_IN_PROGRESS):
        group = texts[start : start + _TEXTS_IN_PROGRESS]
        async with asyncio.TaskGroup() as running:
            for text in group:
                running.create_task(engine.explain([text], options, deadline=deadline))


async def _explain(answering: Answering, texts: Sequence[TextInput]) -> None:
    async for _ in answering.explain(texts):
        pass


async def _audit(path: Path, maker: PartMaker) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(path, Columns())
        settings = AuditSettings(truncate=True)
        await run_audit(source, maker, Path(folder), settings)


def _compare_with_ray(folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    path = write_texts(folder / "texts.csv", rows=arguments.rows)
    source, settings = open_source(path, Columns()), AuditSettings(rows_per_part=50)
    engine = open_engine(arguments.bundle, limits=audit_limits(1))
    here = PartsHere(BundleAnswers(engine, truncate=False))
    here_seconds = _clocked(source, here, folder / "here", settings)
    engine.close()
    began = time.perf_counter()
    with joined_cluster(None, num_workers=1):
        start_seconds = time.perf_counter() - began
        bundle = read_bundle(arguments.bundle)
        there = PartsOnRay(bundle, precision=None, num_workers=1)
        ray_seconds = _clocked(source, there, folder / "there", settings)
    return {
        "here, seconds": here_seconds,
        "start of the cluster, seconds": start_seconds,
        "on Ray, seconds, its workers' start counted": ray_seconds,
    }


def _clocked(
    source: Source, maker: PartMaker, folder: Path, settings: AuditSettings
) -> float:
    began = time.perf_counter()
    asyncio.run(run_audit(source, maker, folder, settings))
    return time.perf_counter() - began


def write_texts(path: Path, *, rows: int, num_words: tuple[int, int] = (5, 40)) -> Path:
    """Write a CSV of random texts, the same at every call.

    Args:
        path: Where.
        rows: How many texts.
        num_words: Fewest and most words of one.
    """
    chance = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text"])
        for _ in range(rows):
            length = chance.randint(*num_words)
            writer.writerow([" ".join(chance.choices(_WORDS, k=length))])
    return path


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path("bundles/sst2-minilm"))
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
