"""An audit's texts a second beside the bare engine's, and the memory it takes.

The bare engine explains and verifies the same texts, as many of them in progress, and
throws the answers away; the audit reads them from a file and writes its folder. Both
run in processes of their own, in turns. Memory is the largest resident size of audits
of few and of many rows, which should differ by little.
"""

import argparse
import asyncio
import csv
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from diffmask_service.app import open_engine
from diffmask_service.audit import (
    Answering,
    AuditSettings,
    BundleAnswers,
    Columns,
    PartsHere,
    Source,
    audit_limits,
    open_source,
    run_audit,
)

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


def main() -> None:
    """Measure, and print two figures; or be one of the processes."""
    arguments = _parse()
    if arguments.role is not None:
        print(*_measure(arguments.role, arguments))
        return
    with tempfile.TemporaryDirectory() as folder:
        few, many = (
            _write_texts(Path(folder) / f"{rows}.csv", rows=rows)
            for rows in (arguments.rows, arguments.many_rows)
        )
        rates: dict[str, list[float]] = {"bare": [], "audit": []}
        for _ in range(arguments.rounds):
            for role, found in rates.items():
                found.append(_ask(role, few, arguments)[0])
        bare, audit = (statistics.median(found) for found in rates.values())
        print(f"bare engine {bare:.0f} texts/s, audit {audit:.0f}: {audit / bare:.0%}")
        for path, rows in ((few, arguments.rows), (many, arguments.many_rows)):
            peak_mib = _ask("audit", path, arguments)[1]
            print(f"{rows} rows: {peak_mib:.0f} MiB at most")


def _measure(role: str, arguments: argparse.Namespace) -> tuple[float, float]:
    source = open_source(arguments.input, Columns())
    engine = open_engine(arguments.bundle, limits=audit_limits(arguments.workers))
    answering = BundleAnswers(engine, truncate=True)
    work = _explain if role == "bare" else _audit
    began = time.perf_counter()
    asyncio.run(work(source, answering))
    seconds = time.perf_counter() - began
    engine.close()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return source.num_rows / seconds, peak_kib / 1024


async def _explain(source: Source, answering: Answering) -> None:
    texts = [row.input for row in source.rows() if row.input is not None]
    async for _ in answering.explain(texts):
        pass


async def _audit(source: Source, answering: Answering) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = AuditSettings(truncate=True)
        await run_audit(source, PartsHere(answering), Path(folder), settings)


def _ask(role: str, path: Path, arguments: argparse.Namespace) -> Sequence[float]:
    command = [sys.executable, __file__, "--role", role, "--input", path]
    options = ["--bundle", arguments.bundle, "--workers", arguments.workers]
    done = subprocess.run(
        [str(word) for word in (*command, *options)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(word) for word in done.stdout.split()]


def _write_texts(path: Path, *, rows: int) -> Path:
    chance = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text"])
        for _ in range(rows):
            num_words = chance.randint(5, 40)
            writer.writerow([" ".join(chance.choices(_WORDS, k=num_words))])
    return path


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/sst2-minilm"))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--many-rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--role", choices=("bare", "audit"), help=argparse.SUPPRESS)
    parser.add_argument("--input", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
