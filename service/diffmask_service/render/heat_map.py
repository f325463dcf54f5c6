"""A tokens-by-states heat map in the terminal.

It takes the widest cells that there is room for: numbers on colour, then colour alone.
Where there is no colour, numbers have a shade before them and narrow cells are shades.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.text import Text

from diffmask_service.core.predictions import Float32Array, Units
from diffmask_service.render import scale
from diffmask_service.render.report import printable

_CELL_WIDTHS = (5, 4, 3, 2, 1)
_NAME_WIDTH = 4
_MAX_TOKEN_WIDTH = 16
_SCORE_WIDTH = 7
_DROP_HEADING = "drop from"
_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Units down, states across; one block of columns for each kind of gate.

    Attributes:
        units: The rows.
        scores: `[tokens]` float32 in [0, 1]. Aggregate score.
        states: Names along the `layers` axis.
        gates_by_title: `[layers, tokens]` float32 in [0, 1], by the title of its block.
        droppable_from: Name of a state, or None for never, for each row; empty to leave
            the column out.
    """

    units: Units
    scores: Float32Array
    states: tuple[str, ...]
    gates_by_title: Mapping[str, Float32Array]
    droppable_from: tuple[str | None, ...]

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Text]:
        """Yield the map line by line."""
        pen = _Pen(
            has_colour=console.color_system is not None and not console.no_color,
            ascii_only=options.ascii_only,
        )
        num_blocks = len(self.gates_by_title)
        is_beside = self._width(_CELL_WIDTHS[0], num_blocks) <= options.max_width
        fitting = (w for w in _CELL_WIDTHS if self._width(w, 1) <= options.max_width)
        width = next(fitting, _CELL_WIDTHS[-1])
        blocks = list(self.gates_by_title.items())
        for group in [blocks] if is_beside else [[block] for block in blocks]:
            yield from self._block(dict(group), pen, width)
            yield Text()
        yield Text(scale.key(self.states, self._names(width)), style="dim")
        yield pen.legend()

    def _block(
        self, gates_by_title: Mapping[str, Float32Array], pen: "_Pen", width: int
    ) -> Iterator[Text]:
        is_first = next(iter(self.gates_by_title)) in gates_by_title
        droppable_from = self.droppable_from if is_first else ()
        margin = " " * (self._token_width() + _SCORE_WIDTH)
        span = width * len(self.states)
        title = margin + "".join(
            _GAP + set_cell_size(title, span) for title in gates_by_title
        )
        # The last digits of a number are those that tell it from its neighbours.
        names = _GAP + "".join(
            name[-width:].center(width) for name in self._names(width)
        )
        heading = margin[:-_SCORE_WIDTH] + " score ".rjust(_SCORE_WIDTH)
        heading += names * len(gates_by_title)
        yield Text(title.rstrip(), style="bold")
        yield Text(heading + (_GAP + _DROP_HEADING if droppable_from else ""), "dim")
        for index in range(len(self.units.texts)):
            line = self._token(index)
            line.append("  ").append_text(pen.cell(self.scores[index], 5))
            for gates in gates_by_title.values():
                line.append(_GAP)
                for value in gates[:, index]:
                    line.append_text(pen.cell(value, width))
            if droppable_from:
                line.append(_GAP + self._drop_name(droppable_from[index], width))
            yield line

    def _token(self, index: int) -> Text:
        # Two texts are told apart by a number; one needs none.
        has_pairs = bool(self.units.segments.any())
        segment = "" if not has_pairs else f"{self.units.segments[index] + 1} "
        text = segment + printable(self.units.texts[index])
        style = "dim" if self.units.is_special[index] else ""
        return Text().append(_fit(text, self._token_width()), style=style)

    def _drop_name(self, state: str | None, width: int) -> str:
        if state is None:
            return "kept"
        return self._names(width)[self.states.index(state)]

    def _names(self, width: int) -> tuple[str, ...]:
        if width >= _NAME_WIDTH:
            return scale.short_names(self.states)
        return tuple(map(str, range(len(self.states))))

    def _token_width(self) -> int:
        widths = (cell_len(printable(text)) for text in self.units.texts)
        has_pairs = bool(self.units.segments.any())
        return min(_MAX_TOKEN_WIDTH, max(widths, default=0) + 2 * has_pairs)

    def _width(self, cell_width: int, num_blocks: int) -> int:
        block = len(_GAP) + cell_width * len(self.states)
        drop = len(_GAP + _DROP_HEADING) if self.droppable_from else 0
        return self._token_width() + _SCORE_WIDTH + num_blocks * block + drop


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pen:
    """Draws values the way that the terminal can show them."""

    has_colour: bool
    ascii_only: bool

    def cell(self, value: float, width: int) -> Text:
        """Return a value in a given number of columns."""
        number = scale.number(value)
        has_number = width > len(number)
        if self.has_colour:
            text = number.center(width) if has_number else " " * width
            return Text(text, style=scale.style(value))
        shade = scale.shade(value, ascii_only=self.ascii_only)
        return Text((shade + number).ljust(width) if has_number else shade * width)

    def legend(self) -> Text:
        """Return the line that explains the scale."""
        line = Text().append("expected gate value ", style="dim")
        for value in (0.0, 0.25, 0.5, 0.75, 1.0):
            line.append_text(self.cell(value, 5))
        return line.append(" can be dropped ... must be kept", style="dim")


def _fit(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"
