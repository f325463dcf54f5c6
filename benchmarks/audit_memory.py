"""The largest resident memory of audits of few and of many rows.

Each is the whole command, report and all, in a process of its own; they should differ
by little. The model is the tests' tiny one and the texts are short, so that a million
rows take an hour and not a day: what a model takes does not depend on their number.
The text's words are few, or the counts of words would grow up to their bound.

Run it as `python -m benchmarks.audit_memory`, as it shares its model with the tests.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.audit import write_texts
from benchmarks.results import add_result_flag, store, table
from tests.support.tiny import write_tiny_bundle

_TARGET = 1.1


def main() -> None:
    """Audit each file, and compare."""
    arguments = _parse()
    audits: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        write_tiny_bundle(Path(name) / "bundle")
        for rows in arguments.rows:
            audits.append(audit(Path(name), rows=rows))
            print(audits[-1], flush=True)
    figures = {
        "audits": audits,
        "last_over_first": audits[-1]["mib"] / audits[0]["mib"],
    }
    print("\n".join(describe(figures)))
    store("audit_memory", figures, arguments=arguments)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    ratio = figures["last_over_first"]
    verdict = "met" if ratio <= _TARGET else "**missed**"
    names = ("rows", "mib", "seconds")
    return [
        f"The last takes {ratio:.3f} times the memory of the first (target"
        f" {_TARGET:.2f}: {verdict}).",
        "",
        *table(
            ["rows", "MiB at most", "seconds"],
            [[each[name] for name in names] for each in figures["audits"]],
        ),
    ]


def audit(folder: Path, *, rows: int) -> dict[str, float]:
    """Return the memory and time of one audit of short random texts.

    Args:
        folder: Holds the bundle, named so; text and audit go there.
        rows: How many texts.

    Raises:
        SystemExit: The audit failed.
    """
    source = write_texts(folder / f"{rows}.csv", rows=rows, num_words=(3, 8))
    words = ["audit", source, "--output", folder / f"audit-{rows}"]
    # The tests' tokenizer cuts words into many pieces, and its model takes few.
    words += ["--bundle", folder / "bundle", "--workers", 1, "--truncate"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "diffmask_service", *map(str, words)],
        stdout=subprocess.DEVNULL,
    )
    # Not by `wait`, which throws the child's use of resources away.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the audit of {rows} rows ended with {process.returncode}")
    return {
        "rows": rows,
        "mib": usage.ru_maxrss / 1024,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[10_000, 1_000_000],
        help="an audit each [%(default)s]",
    )
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
