"""The tokens-by-states heat map of the web page."""

from diffmask_service.core.predictions import Float32Array
from diffmask_service.core.values import Explanation
from diffmask_service.render.markup import Html, element, join
from diffmask_service.render.report import Report, printable
from diffmask_service.render.scale import number
from diffmask_service.render.strip import shaded

# With more states than this, columns are drawn narrower.
_MANY_STATES = 10


def map_table(
    report: Report,
    explanation: Explanation,
    gates: Float32Array,
    *,
    is_input: bool = True,
) -> Html:
    """Return a table: units down, states across, the values as colour and number.

    Args:
        report: Names of the states, and the threshold.
        explanation: Its units make the rows.
        gates: `[layers, tokens]` float32 in [0, 1].
        is_input: Whether these are input gates, which come with the score and with the
            state from which a token can be dropped.
    """
    states = tuple(map(printable, report.reply.states))
    droppable_from = report.droppable_from(explanation) if is_input else ()
    headings = ("", "score", *states, "droppable from") if is_input else ("", *states)
    head = element("tr", *(element("th", breakable(name)) for name in headings))
    rows = []
    for index, values in enumerate(gates.T.tolist()):
        cells = [_row_name(explanation, index)]
        if is_input:
            score = 0.0 if explanation.scores is None else explanation.scores[index]
            edge = droppable_from[index]
            cells.append(_cell(float(score), "score", "score"))
            marks = ["edge" if state == edge else "" for state in report.reply.states]
            note = [_note(edge)]
        else:
            threshold = report.hard_mask_threshold
            marks = ["kept" if value >= threshold else "" for value in values]
            note = []
        cells += map(_cell, values, states, marks)
        rows.append(element("tr", *cells, *note, cls=_row_class(explanation, index)))
    kind = "map" if is_input else "map hidden"
    table = element(
        "table",
        element("thead", head),
        element("tbody", *rows),
        cls=kind + (" wide" if len(states) > _MANY_STATES else ""),
    )
    return element("div", table, cls="scroll")


def legend(threshold: float) -> Html:
    """Return the explanation of colours and marks.

    Args:
        threshold: Of the hard mask, in [0, 1].
    """
    return element(
        "div",
        element("span", "0", element("i", cls="ramp"), "1  expected gate value"),
        element(
            "span",
            element("i", cls="sample edge"),
            f"droppable from here (input gate under {threshold:g})",
        ),
        element(
            "span",
            element("i", cls="sample kept"),
            f"state needed (hidden gate {threshold:g} or more)",
        ),
        cls="legend faint",
    )


def breakable(name: str) -> Html:
    """Return the name of a state that may wrap after a "_", as its column is narrow."""
    first, *rest = name.split("_")
    return join(first, *(join("_", Html("<wbr>"), part) for part in rest))


def _row_name(explanation: Explanation, index: int) -> Html:
    text = "" if explanation.units is None else explanation.units.texts[index]
    return element("th", printable(text), attributes={"title": printable(text)})


def _row_class(explanation: Explanation, index: int) -> str:
    units = explanation.units
    return "special" if units is not None and units.is_special[index] else ""


def _cell(value: float, name: str, mark: str) -> Html:
    return shaded("td", number(value), value, cls=mark, title=f"{name}: {value:.4f}")


def _note(state: str | None) -> Html:
    if state is None:
        return element("td", "kept throughout", cls="note never")
    return element("td", printable(state), cls="note")
