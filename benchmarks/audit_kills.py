"""An audit killed with SIGKILL at random moments, beside one that nobody disturbs.

Each run goes on where the last one was killed. The moments are drawn: a number of parts
that must be there, and a time after the last of them; so every kill hits, however busy
the machine is. The run after the last kill ends. Both folders must then hold the same
files with the same bytes.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.audit import write_texts
from benchmarks.results import add_result_flag, store


def main() -> None:
    """Kill, go on, and compare."""
    arguments = _parse()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        source = write_texts(root / "texts.csv", rows=arguments.rows)
        whole, killed = root / "whole", root / "killed"
        began = time.perf_counter()
        _start(source, whole, arguments).wait()
        seconds = time.perf_counter() - began
        print(f"undisturbed: {seconds:.1f} s, {_num_parts(whole)} parts")
        num_parts = _num_parts(whole)
        kills: list[dict[str, Any]] = []
        parts = sorted(chance.choices(range(num_parts), k=arguments.kills))
        for wanted in parts:
            process = _start(source, killed, arguments)
            while _num_parts(killed) < wanted and process.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, seconds / num_parts))
            is_running = process.poll() is None
            process.kill()
            process.wait()
            kills.append({"parts": _num_parts(killed), "was_running": is_running})
        status = _start(source, killed, arguments).wait()
        figures = {
            "seconds": seconds,
            "parts": num_parts,
            "files": len(_contents(whole)),
            "kills": kills,
            "is_same": status == 0 and _contents(killed) == _contents(whole),
        }
    print("\n".join(describe(figures)))
    store("audit_kills", figures, arguments=arguments)
    sys.exit(not figures["is_same"])


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    kills = figures["kills"]
    running = [each["parts"] for each in kills if each["was_running"]]
    verdict = "the same bytes" if figures["is_same"] else "**other bytes**"
    return [
        f"Killed {len(running)} times while it ran, of {len(kills)} tries, with"
        f" {', '.join(map(str, running))} of {figures['parts']} parts written; the run"
        f" after the last kill left {verdict} in all {figures['files']} files as an"
        " audit that nobody disturbed."
    ]


def _start(
    source: Path, folder: Path, arguments: argparse.Namespace
) -> subprocess.Popen[bytes]:
    words = ["audit", source, "--output", folder, "--bundle", arguments.bundle]
    words += ["--rows-per-part", 20, "--workers", 1]
    return subprocess.Popen(
        [sys.executable, "-m", "diffmask_service", *map(str, words)],
        stdout=subprocess.DEVNULL,
    )


def _num_parts(folder: Path) -> int:
    return len(list((folder / "parts").glob("*.parquet")))


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("bundles/sst2-minilm"))
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
