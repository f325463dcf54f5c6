"""Every run behind the results that needs a bundle alone, one after the other.

A run whose figures are recorded already, by the same flags, is left out: after an
interruption the same command goes on with the next one. In the end the page is written
anew. All of it takes about an hour on two cores with nothing else to do.

    python -m benchmarks.campaign --bundle bundles/sst2-minilm
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.report import RESULTS, write_report

Flags = Mapping[str, str | int | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One script with its flags.

    Attributes:
        name: Of the script.
        flags: By name, beside `--bundle` and `--to`.
    """

    name: str
    flags: Flags = field(default_factory=dict)

    def is_recorded(self, results: Path) -> bool:
        """Whether its figures are there, made by these flags.

        Args:
            results: Directory of the figures.
        """
        path = results / f"{self.name}.json"
        if not path.exists():
            return False
        made_by = json.loads(path.read_text())["arguments"]
        return all(
            str(made_by.get(name.replace("-", "_"))) == _recorded(value)
            for name, value in self.flags.items()
        )

    def command(self, bundle: Path, results: Path) -> list[str]:
        """Return its command line.

        Args:
            bundle: What is served.
            results: Where the figures go.
        """
        flags = {"bundle": bundle, "to": results} | dict(self.flags)
        words = [word for name in flags for word in (f"--{name}", str(flags[name]))]
        return [sys.executable, "-m", f"benchmarks.{self.name}", *words]


RUNS = (
    Run(name="start", flags={"rounds": 9}),
    Run(name="explain_overhead"),
    Run(name="server_cpu"),
    Run(name="isolation"),
    Run(name="load"),
    Run(name="chaos"),
    Run(name="swaps", flags={"swaps": 100, "restarts": 20}),
    Run(name="memory", flags={"requests": 200_000}),
    Run(name="audit"),
    Run(name="audit_kills"),
    Run(name="fuzz", flags={"messages": 1_000_000, "streams": 100_000}),
)


def main() -> None:
    """Run what is not recorded, and fail if one of the runs does."""
    arguments = _parse()
    runs = [*RUNS]
    peers = {name: getattr(arguments, name) for name in ("litserve", "mlserver")}
    given = {name: path for name, path in peers.items() if path is not None}
    if given:
        runs.insert(0, Run(name="others", flags=given))
    failed = carry_out(runs, bundle=arguments.bundle, results=arguments.to)
    page = arguments.to.parent / "RESULTS.md"
    page.write_text(write_report(arguments.to))
    print(f"wrote {page}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


def carry_out(runs: Sequence[Run], *, bundle: Path, results: Path) -> list[str]:
    """Start what is not recorded, and return the names of those that failed.

    Args:
        runs: In their order.
        bundle: What is served.
        results: Where the figures go.
    """
    failed = []
    for run in runs:
        if run.is_recorded(results):
            print(f"{run.name}: is recorded", flush=True)
            continue
        began = time.monotonic()
        done = subprocess.run(run.command(bundle, results), check=False)
        minutes = (time.monotonic() - began) / 60
        print(f"{run.name}: status {done.returncode}, {minutes:.1f} min", flush=True)
        if done.returncode:
            failed.append(run.name)
    return failed


def _recorded(value: str | int | Path) -> str:
    # Of a path the last part alone is kept.
    return value.name if isinstance(value, Path) else str(value)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--to", type=Path, default=RESULTS, help="of the figures [%(default)s]"
    )
    for name in ("litserve", "mlserver"):
        parser.add_argument(
            f"--{name}", type=Path, help="Python of its environment, for `others`"
        )
    return parser.parse_args()


if __name__ == "__main__":
    main()
