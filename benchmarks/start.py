"""How long a server takes from its start until it answers, over real gRPC.

Each run is a new process; it counts as ready when the health service says SERVING.
"""

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from os import sysconf
from pathlib import Path

from diffmask_service.client import Client

_ANNOUNCEMENT = "ready: gRPC on "


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    arguments = parser.parse_args()
    starts = []
    for number in range(1, arguments.rounds + 1):
        starts.append(_start(arguments.bundle))
        _print(f"start {number}", starts[-1])
    _print(
        "median",
        Start(
            wall_seconds=statistics.median(start.wall_seconds for start in starts),
            cpu_seconds=statistics.median(start.cpu_seconds for start in starts),
        ),
    )


def _start(bundle: Path) -> Start:
    command = [sys.executable, "-m", "diffmask_service", "serve"]
    flags = [f"--bundle={bundle}", "--grpc-port=0", "--metrics-port=0"]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, *flags, "--log-level=WARNING"], stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None:
            raise AssertionError("the process was started with a pipe")
        try:
            line = process.stdout.readline()
            if not line.startswith(_ANNOUNCEMENT):
                raise SystemExit("the server did not start; its own message is above")
            target = line.removeprefix(_ANNOUNCEMENT).partition(",")[0]
            with Client(target) as client:
                if not client.check_health():
                    raise SystemExit("the server announced itself but is not ready")
            return Start(
                wall_seconds=time.perf_counter() - began,
                cpu_seconds=_cpu_seconds(process.pid),
            )
        finally:
            process.terminate()


def _cpu_seconds(pid: int) -> float:
    # Fields 14 and 15 of the whole line; the name before them may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")


def _print(name: str, start: Start) -> None:
    print(f"{name}: {start.wall_seconds:.2f} s, {start.cpu_seconds:.2f} s of CPU")


if __name__ == "__main__":
    main()
