"""Figures on disk: one JSON file for each script, never a figure typed by hand."""

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("grpcio", "numpy", "onnxruntime", "protobuf", "tokenizers")


def add_result_flag(parser: argparse.ArgumentParser) -> None:
    """Give a parser the flag that says where its figures go."""
    parser.add_argument(
        "--to", type=Path, help="directory for the figures as JSON [only printed]"
    )


def store(
    name: str, figures: Mapping[str, Any], *, arguments: argparse.Namespace
) -> None:
    """Write figures with what they were measured on, if the command line says where.

    Args:
        name: Of the script; that of the file, without its suffix.
        figures: Plain values.
        arguments: The command line; paths are kept by their last part alone.
    """
    if arguments.to is None:
        return
    arguments.to.mkdir(parents=True, exist_ok=True)
    record = {
        "name": name,
        "measured_on": datetime.now(UTC).date().isoformat(),
        "machine": _machine(),
        "arguments": {
            key: value.name if isinstance(value, Path) else value
            for key, value in sorted(vars(arguments).items())
            if key != "to"
        },
        "figures": figures,
    }
    path = arguments.to / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table; all columns but the first right-aligned."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    cells = [head, rule, *[[_spell(cell) for cell in row] for row in rows]]
    return ["| " + " | ".join(row) + " |" for row in cells]


def _spell(cell: object) -> str:
    if isinstance(cell, float) and 0.1 <= abs(cell) < 100:
        return f"{cell:.3g}"
    if isinstance(cell, float):
        return f"{cell:.4f}" if abs(cell) < 0.1 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_after": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()
