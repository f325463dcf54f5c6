"""How long an audit's report of many texts takes to draw, and Chromium to open it.

The texts are made up of a large vocabulary, with gates drawn at random, so that every
section is as full as it gets. A page with one word in it is opened beside the report,
for what the browser itself takes; the two take turns. Busy seconds are processor time
of the page's main thread, which a loaded machine stretches less.

Run it as `python -m benchmarks.report_page`, as it shares a browser with the tests.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from diffmask_service.audit.report import gather, open_audit, render_report
from tests.support.browser import running_browser
from tests.support.explained import audit_tiny, multiply
from tests.support.tiny import write_tiny_bundle


def main() -> None:
    """Say the size of the report and the seconds of each stage."""
    arguments = _parse()
    figures = _measure(arguments)
    print("\n".join(describe(figures)))
    store("report_page", figures, arguments=arguments)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [[name.replace("_", " "), value] for name, value in figures.items()]
    return table(["what", "figure"], rows)


def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        write_tiny_bundle(Path(place) / "bundle")
        folder = audit_tiny(Path(place) / "texts", Path(place) / "bundle")
        multiply(folder, num_rows=arguments.rows)
        began, began_cpu = time.perf_counter(), time.process_time()
        findings = gather(open_audit(folder))
        read, read_cpu = time.perf_counter(), time.process_time()
        content = render_report(findings)
        drawn = time.perf_counter()
        report, empty = folder / "report.html", folder / "empty.html"
        report.write_text(content, encoding="utf-8")
        empty.write_text("<!doctype html>\n<title>empty</title>\n<p>empty</p>\n")
        seconds: dict[Path, list[float]] = {report: [], empty: []}
        busy: dict[Path, list[float]] = {report: [], empty: []}
        for _ in range(arguments.rounds):
            for path in (report, empty):
                with running_browser() as browser:
                    page = browser.page()
                    started = time.perf_counter()
                    page.open(path.resolve().as_uri())
                    seconds[path].append(time.perf_counter() - started)
                    busy[path].append(page.busy_seconds())
    return {
        "texts": arguments.rows,
        "megabytes": len(content.encode()) / 1e6,
        "read_seconds": read - began,
        "read_cpu_seconds": read_cpu - began_cpu,
        "draw_seconds": drawn - read,
        "open_seconds": statistics.median(seconds[report]),
        "open_busy_seconds": statistics.median(busy[report]),
        "open_empty_seconds": statistics.median(seconds[empty]),
        "open_empty_busy_seconds": statistics.median(busy[empty]),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
