"""How long a server takes from its start until it answers, over real gRPC.

Each run is a new process; it counts as ready when the health service says SERVING.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import running
from diffmask_service.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What one start took.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of the processor, for the server's process.
    """

    wall_seconds: float
    cpu_seconds: float


def main() -> None:
    """Start several times and print each, then the medians."""
    arguments = _parse()
    starts = [measure_start(arguments.bundle) for _ in range(arguments.rounds)]
    figures = summarise(starts)
    print("\n".join(describe(figures)))
    store("start", figures, arguments=arguments)


def measure_start(bundle: Path) -> Start:
    """Start a server once, and stop it.

    Args:
        bundle: What it serves.

    Raises:
        RuntimeError: It did not start, or was not ready when it said so.
    """
    began = time.perf_counter()
    with (
        running(bundle, log_level="WARNING") as server,
        Client(server.target) as client,
    ):
        if not client.check_health():
            raise RuntimeError("the server announced itself but is not ready")
        return Start(
            wall_seconds=time.perf_counter() - began,
            cpu_seconds=server.cpu_seconds(),
        )


def summarise(starts: Sequence[Start]) -> dict[str, Any]:
    """Return the medians, and every start beside them.

    Args:
        starts: At least one.
    """
    return {
        "wall_seconds": statistics.median(start.wall_seconds for start in starts),
        "cpu_seconds": statistics.median(start.cpu_seconds for start in starts),
        "starts": [asdict(start) for start in starts],
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows: list[list[object]] = [
        [number, start["wall_seconds"], start["cpu_seconds"]]
        for number, start in enumerate(figures["starts"], 1)
    ]
    rows.append(["median", figures["wall_seconds"], figures["cpu_seconds"]])
    return table(["start", "seconds", "CPU seconds"], rows)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
