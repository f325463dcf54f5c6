"""Charts as inline SVG: lines over states, bars with intervals, counts in bins.

Every axis of gates and shares starts at 0. Series differ in colour, dash and marker, so
that no reader depends on colour; the colours are those of Okabe and Ito.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.render.markup import Html, element, join
from diffmask_service.render.report import printable
from diffmask_service.render.scale import key, short_names

MAX_SERIES = 6
_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 34
_BAR_WIDTH, _BAR_HEIGHT = 120, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of a chart.

    Attributes:
        name: What it is of.
        estimates: `[layers]`: its points.
    """

    name: str
    estimates: tuple[Estimate, ...]


def line_chart(
    series: Sequence[Series], states: Sequence[str], *, title: str, axis: str
) -> Html:
    """Return a chart of shares or gates, in [0, 1], over states.

    Args:
        series: Its lines, those of the most texts first; `MAX_SERIES` are drawn.
        states: Names along its horizontal axis.
        title: What it shows.
        axis: What its vertical axis counts.
    """
    drawn = series[:MAX_SERIES]
    names = short_names(states)
    parts = [_grid(names)]
    parts += [_band(each.estimates, index) for index, each in enumerate(drawn)]
    parts += [_line(each, states, index) for index, each in enumerate(drawn)]
    chart = _svg(title, _WIDTH, _HEIGHT, *parts, cls="chart")
    notes = [key(tuple(map(printable, states)), names)]
    if len(series) > MAX_SERIES:
        notes.append(f"{len(series) - MAX_SERIES} of fewer texts are left out")
    caption = element(
        "figcaption",
        element("strong", title),
        element("span", f"{axis}; bands: 95 % intervals", cls="faint"),
    )
    return element(
        "figure",
        caption,
        chart,
        _legend(drawn),
        element("p", ". ".join(note for note in notes if note), cls="faint"),
    )


def interval_bar(estimate: Estimate, *, top: float = 1.0) -> Html:
    """Return a bar with its interval, for a cell of a table.

    Args:
        estimate: What it shows; the bar starts at 0.
        top: Value of its right end.
    """
    value, low, high = (
        _BAR_WIDTH * min(1.0, max(0.0, each / top))
        for each in (estimate.value, estimate.low, estimate.high)
    )
    middle = _BAR_HEIGHT / 2
    return _svg(
        "",
        _BAR_WIDTH,
        _BAR_HEIGHT,
        _shape("rect", cls="track", width=_BAR_WIDTH, height=8, y=3),
        _shape("rect", cls="bar", width=value, height=8, y=3),
        _shape("path", cls="whisker", d=f"M{low:.1f} {middle:g}H{high:.1f}"),
        cls="interval",
    )


def histogram(counts: Sequence[int], names: Sequence[str], *, title: str) -> Html:
    """Return bars of counts in named bins.

    Args:
        counts: One for each bin.
        names: One for each bin.
        title: What it shows.
    """
    height, step = 190, (_WIDTH - 2 * _RIGHT) / max(1, len(counts))
    most = max(1, *counts)
    parts: list[Html] = []
    for index, (count, name) in enumerate(zip(counts, names, strict=True)):
        size = (height - 60) * count / most
        left = _RIGHT + index * step
        parts += [
            _shape(
                "rect",
                cls="bar",
                x=left + 3,
                y=height - 30 - size,
                width=step - 6,
                height=size,
            ),
            _text(f"{count:,}", left + step / 2, height - 36 - size),
            _text(name, left + step / 2, height - 12, cls="faint"),
        ]
    chart = _svg(title, _WIDTH, height, *parts, cls="chart")
    return element("figure", element("figcaption", element("strong", title)), chart)


def _grid(names: Sequence[str]) -> Html:
    parts = []
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(value)
        cls = "axis" if value == 0 else "grid"
        parts.append(_shape("path", cls=cls, d=f"M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"))
        parts.append(_text(f"{value:g}", _LEFT - 8, y + 4, cls="faint end"))
    parts += [
        _text(name, _x(index, len(names)), _HEIGHT - 12, cls="faint")
        for index, name in enumerate(names)
    ]
    return join(*parts)


def _band(estimates: Sequence[Estimate], index: int) -> Html:
    num = len(estimates)
    upper = [
        f"{_x(i, num):.1f} {_y(each.high):.1f}" for i, each in enumerate(estimates)
    ]
    lower = [f"{_x(i, num):.1f} {_y(each.low):.1f}" for i, each in enumerate(estimates)]
    return _shape("path", cls=f"band s{index}", d=f"M{'L'.join(upper + lower[::-1])}Z")


def _line(series: Series, states: Sequence[str], index: int) -> Html:
    num = len(series.estimates)
    places = [
        (_x(place, num), _y(each.value)) for place, each in enumerate(series.estimates)
    ]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [_shape("path", cls=f"line s{index}", d=f"M{line}")]
    for (x, y), state, each in zip(places, states, series.estimates, strict=True):
        told = (
            f"{printable(series.name)}, {printable(state)}: {each.value:.3f}"
            f" ({each.low:.3f} to {each.high:.3f})"
        )
        parts.append(_marker(index, x, y, told))
    return join(*parts)


def _marker(index: int, x: float, y: float, told: str = "") -> Html:
    outlines = (
        "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
        "m-4-4h8v8h-8z",
        "m0-5l5 9h-10z",
        "m0-5l5 5l-5 5l-5-5z",
        "m0 5l5-9h-10z",
        "m-5-1.5h3.5v-3.5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5z",
    )
    path = f"M{x:.1f} {y:.1f}{outlines[index]}"
    children = [element("title", told)] if told else []
    return element("path", *children, cls=f"mark s{index}", attributes={"d": path})


def _legend(series: Sequence[Series]) -> Html:
    items = [
        element(
            "li",
            _svg(
                "",
                34,
                14,
                _shape("path", cls=f"line s{index}", d="M0 7H34"),
                _marker(index, 17, 7),
                cls="swatch",
            ),
            printable(each.name),
        )
        for index, each in enumerate(series)
    ]
    return element("ul", *items, cls="legend")


def _x(index: int, num: int) -> float:
    inner = _WIDTH - _LEFT - _RIGHT - 40
    return _LEFT + 20 + (inner * index / (num - 1) if num > 1 else inner / 2)


def _y(value: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(1.0, max(0.0, value))


def _svg(label: str, width: float, height: float, *parts: str, cls: str) -> Html:
    told = {"role": "img", "aria-label": label} if label else {"aria-hidden": "true"}
    return element(
        "svg",
        *parts,
        cls=cls,
        attributes={"viewBox": f"0 0 {width:g} {height:g}", **told},
    )


def _shape(name: str, *, cls: str, **values: float | str) -> Html:
    attributes = {
        key: value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
        for key, value in values.items()
    }
    return element(name, cls=cls, attributes=attributes)


def _text(text: str, x: float, y: float, *, cls: str = "") -> Html:
    return element("text", text, cls=cls, attributes={"x": f"{x:.1f}", "y": f"{y:.1f}"})
