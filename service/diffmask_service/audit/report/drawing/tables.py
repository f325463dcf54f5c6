"""Tables of a report: figures with intervals, and heat maps on the fixed scale."""

from collections.abc import Sequence

from diffmask_service.audit.report.drawing.charts import interval_bar
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.render.markup import Html, element
from diffmask_service.render.page_map import breakable
from diffmask_service.render.report import printable
from diffmask_service.render.scale import number
from diffmask_service.render.strip import shaded


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    cls: str = "",
) -> Html:
    """Return a table whose first column names its rows.

    Args:
        headings: Of its columns.
        rows: Cells, made by the functions below or plain text.
        caption: What it shows.
        cls: Further classes: `sortable` and `searchable`, for the page's script;
            `dense`, for more columns than stand side by side with their intervals.
    """
    head = element(
        "tr",
        *(element("th", each, attributes={"scope": "col"}) for each in headings),
    )
    body = [
        element(
            "tr",
            element("th", first, attributes={"scope": "row"}),
            *(_in_cell(each) for each in rest),
        )
        for first, *rest in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        cls=f"plain {cls}".strip(),
    )
    return element("div", whole, cls="scroll")


def count(value: int) -> Html:
    """Return a cell with a number of things."""
    return _cell(value, f"{value:,}")


def amount(value: float, *, form: str = "z.1f") -> Html:
    """Return a cell with a number that has no interval.

    Args:
        value: The number.
        form: How it is written.
    """
    return _cell(value, f"{value:{form}}")


def figure(
    estimate: Estimate | None, *, form: str = ".1%", bar: bool = False, top: float = 1.0
) -> Html:
    """Return a cell with a figure and its interval.

    Args:
        estimate: The figure; None for one that is not defined.
        form: How it is written.
        bar: Whether a bar stands beside it.
        top: Value of the bar's right end.
    """
    if estimate is None:
        return element("td", "not known", cls="number", attributes={"data-value": "-1"})
    drawn = [interval_bar(estimate, top=top)] if bar else []
    return _cell(
        estimate.value,
        *drawn,
        f"{estimate.value:{form}} ",
        # Where a column is narrow, it wraps in front of "to".
        element(
            "span",
            f"{estimate.low:{form}} to\N{NO-BREAK SPACE}{estimate.high:{form}}",
            cls="range",
        ),
    )


def heat_map(
    rows: Sequence[tuple[str, Sequence[Estimate]]],
    states: Sequence[str],
    *,
    caption: str,
    first: str = "",
) -> Html:
    """Return values in [0, 1] by name and state, as colours on the scale from 0 to 1.

    Args:
        rows: A name and its values, `[layers]`.
        states: Names of the columns.
        caption: What it shows.
        first: Heading of the names.
    """
    names = [element("th", breakable(printable(name))) for name in states]
    head = element("tr", element("th", first), *names)
    body = [
        element(
            "tr",
            element("th", printable(name), attributes={"scope": "row"}),
            *(
                shaded(
                    "td",
                    number(each.value),
                    each.value,
                    title=f"{each.value:.4f} ({each.low:.4f} to {each.high:.4f})",
                )
                for each in values
            ),
        )
        for name, values in rows
    ]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        cls="map hidden" + (" wide" if len(states) > 10 else ""),
    )
    return element("div", whole, cls="scroll")


def _in_cell(content: str) -> Html:
    is_cell = isinstance(content, Html) and content.startswith("<td")
    return Html(content) if is_cell else element("td", content)


def _cell(value: float, *children: str) -> Html:
    return element(
        "td", *children, cls="number", attributes={"data-value": f"{value:.6g}"}
    )
