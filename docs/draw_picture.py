"""Draws an explanation as it looks in a terminal, as one SVG file.

`make pictures` runs it on the bundle that ships with the project.
"""

import argparse
import asyncio
import io
import re
from pathlib import Path

from rich.console import Console

from diffmask_service.app import open_engine
from diffmask_service.core.values import ExplainOptions, GateKind, Reply, TextInput
from diffmask_service.render import Report, TerminalView

_TEXT = "A fast , funny , highly enjoyable movie ."
_COLUMNS = 92
# Rich asks another host for a font; a picture should be whole as it is.
_WEB_FONT = re.compile(r"@font-face \{.*?\n *\}\n", re.DOTALL)


def main() -> None:
    """Draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True, help="what explains")
    parser.add_argument("--to", type=Path, required=True, help="the SVG file")
    parser.add_argument("--text", default=_TEXT, help="what is explained [%(default)s]")
    arguments = parser.parse_args()
    engine = open_engine(arguments.bundle)
    text = TextInput(text=arguments.text)
    options = ExplainOptions(gates=frozenset({GateKind.INPUT}))

    async def explain() -> Reply:
        return await engine.explain([text], options)

    try:
        report = Report(
            inputs=(text,),
            reply=asyncio.run(explain()),
            labels=engine.description.labels,
            hard_mask_threshold=engine.description.hard_mask_threshold,
        )
    finally:
        engine.close()
    console = Console(
        file=io.StringIO(),
        record=True,
        width=_COLUMNS,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(TerminalView(report))
    # A fixed id, so that two drawings differ in what they show and in nothing else.
    drawn = console.export_svg(title="diffmask explain", unique_id="explanation")
    arguments.to.write_text(_WEB_FONT.sub("", drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
