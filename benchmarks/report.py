"""Write `RESULTS.md` from the figures that the scripts have stored; none is typed.

python -m benchmarks.report --results benchmarks/results --to benchmarks/RESULTS.md
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import (
    audit,
    audit_kills,
    audit_memory,
    chaos,
    console,
    drift,
    explain_overhead,
    explainers,
    fuzz,
    isolation,
    load,
    memory,
    norms,
    others,
    precisions,
    report_page,
    server_cpu,
    shortcut,
    start,
    swaps,
    train_step,
)

RESULTS = Path(__file__).parent / "results"
Describe = Callable[[Any], list[str]]
# In the order of the report.
SECTIONS: Mapping[str, tuple[str, Describe]] = {
    "explain_overhead": (
        "An explanation over the prediction alone",
        explain_overhead.describe,
    ),
    "server_cpu": ("A server over the bare engine", server_cpu.describe),
    "load": ("Load up to three times capacity", load.describe),
    "chaos": ("Servers killed, stopped and clogged", chaos.describe),
    "swaps": ("Versions swapped and servers restarted", swaps.describe),
    "fuzz": ("Hostile input", fuzz.describe),
    "memory": ("Memory under adversarial lengths", memory.describe),
    "others": ("Explained here, predicted elsewhere", others.describe),
    "explainers": ("Our engine and integrated gradients", explainers.describe),
    "train_step": ("A step of a fit", train_step.describe),
    "precisions": ("Graphs of one bundle", precisions.describe),
    "norms": ("Norms and the sums before them", norms.describe),
    "start": ("From start to ready", start.describe),
    "drift": ("A week without a shift, and a shift", drift.describe),
    "isolation": ("Answers alone and in company", isolation.describe),
    "shortcut": ("A planted shortcut in an audit's report", shortcut.describe),
    "audit": ("An audit over bare explanations", audit.describe),
    "audit_memory": ("Memory of an audit", audit_memory.describe),
    "audit_kills": ("An audit that is killed and goes on", audit_kills.describe),
    "report_page": ("An audit's report of many texts", report_page.describe),
    "console": ("The console in a browser", console.describe),
}
_TITLE = """\
# Results

What the scripts of this folder measured; each keeps its figures in `results/`, and \
`python -m benchmarks.report` writes this page from them.
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--to", type=Path, default=RESULTS.with_name("RESULTS.md"))
    arguments = parser.parse_args()
    arguments.to.write_text(write_report(arguments.results))


def write_report(results: Path) -> str:
    """Return the page; scripts that have stored nothing are left out.

    Args:
        results: Directory of their figures.
    """
    pictures = sorted(path.name for path in results.glob("*.svg"))
    parts = [_TITLE]
    for name, (title, describe) in SECTIONS.items():
        path = results / f"{name}.json"
        if not path.exists():
            continue
        record = json.loads(path.read_text())
        lines = [
            f"## {title}",
            "",
            _circumstances(record),
            "",
            *describe(record["figures"]),
        ]
        if f"{name}.svg" in pictures:
            lines += ["", f"![{title}]({results.name}/{name}.svg)"]
        parts.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(parts)


def _circumstances(record: Mapping[str, Any]) -> str:
    machine, arguments = record["machine"], record["arguments"]
    flags = " ".join(
        f"--{key.replace('_', '-')} {_spell(value)}"
        for key, value in arguments.items()
        if value not in ("", [], None)
    )
    return (
        f"{record['measured_on']}, {machine['processor']}, {machine['cores']} cores"
        f" (load {machine['load_after']} at the end), Python {machine['python']},"
        f" ONNX Runtime {machine['packages']['onnxruntime']},"
        f" grpcio {machine['packages']['grpcio']}:"
        f" `python -m benchmarks.{record['name']} {flags}`"
    )


def _spell(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    main()
