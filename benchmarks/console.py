"""How long the console takes to explain a text of 30 tokens, in Chromium.

From the press on "Explain" until the frame after the heat map was drawn. Says as well
whether every control has an accessible name, and what the browser complained of. Run
from the root of the repository: `python -m benchmarks.console --console URL`.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import add_result_flag, store, table
from tests.support.browser import Page, running_browser

# 28 words, none of which the shipped bundle's tokenizer parts, and two special tokens.
_TEXT = (
    "the film is a fast and funny story with a good cast , a smart script and a lot of"
    " heart , but the last hour is dull"
)
_EXPLAIN = """new Promise((resolve) => {
  const map = document.getElementById("input-map");
  const began = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    // The frame that is drawn next holds the map; the one after it comes too late.
    requestAnimationFrame(() => requestAnimationFrame(() =>
      resolve((performance.now() - began) / 1000)));
  }).observe(map, {childList: true});
  document.querySelector("#ask .main").click();
})"""


def main() -> None:
    """Explain the text several times and say the figures."""
    arguments = _parse()
    with running_browser() as browser:
        page = browser.page()
        page.look(width=1180, height=900)
        page.open(arguments.console)
        page.until("document.querySelectorAll('#model option').length")
        page.write("#text", _TEXT)
        page.value(_EXPLAIN)
        seconds = [page.value(_EXPLAIN) for _ in range(arguments.rounds)]
        figures = _figures(page, seconds)
        if arguments.picture is not None:
            page.screenshot(arguments.picture)
    print("\n".join(describe(figures)))
    store("console", figures, arguments=arguments)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    return table(["what", "figure"], [[name, figures[name]] for name in figures])


def _figures(page: Page, seconds: Sequence[float]) -> dict[str, float]:
    rows = page.value("document.querySelectorAll('#input-map tbody tr').length")
    cells = page.value("document.querySelectorAll('#input-map td.shade').length")
    controls = page.controls()
    return {
        "tokens": rows,
        "cells of the input heat map": cells,
        "round trips": len(seconds),
        "median, seconds": statistics.median(seconds),
        "longest, seconds": max(seconds),
        "controls": len(controls),
        "controls without a name": sum(not name for _, name in controls),
        "complaints of the browser": len(page.complaints),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--console", required=True, help="URL of the page")
    parser.add_argument("--rounds", type=int, default=20, help="[%(default)s]")
    parser.add_argument("--picture", type=Path, help="where to write a screenshot")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
