"""One web page with everything in it: opens offline, asks nobody for anything.

The content security policy forbids every request and every script, so that even a text
that slipped through escaping could load or run nothing.
"""

from importlib import resources

from diffmask_service.core.predictions import Prediction
from diffmask_service.core.values import Explanation, TextInput, Verification
from diffmask_service.render.markup import Html, element, join
from diffmask_service.render.page_map import legend, map_table
from diffmask_service.render.predictions import bars, headline
from diffmask_service.render.report import Report, printable
from diffmask_service.render.strip import strip

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_GUIDE = (
    "An input gate is the probability, estimated by a small probe, that a token must be"
    " kept for the prediction to stay as it is, once the model has read up to that"
    " state. It never rises from one state to the next.",
    "The score of a token is the mean of its input gates over all states of the model."
    " The colour scale always runs from 0 to 1 and can be compared across states, texts"
    " and pages.",
    "A hidden gate says whether the state itself, at that token, is needed. Each state"
    " stands alone.",
    "Gates say how much is needed, not what for: a high value does not tell which label"
    " a token speaks for, nor that the reason is a good one.",
    "The probes are right on average, not always. A verification runs the model again"
    " on the kept tokens and tells whether its prediction holds for this very text.",
)


def render_page(report: Report) -> str:
    """Return a complete HTML document.

    Args:
        report: What to show. Its texts may be hostile.
    """
    model = report.reply.model
    head = join(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"Explanation by {printable(model.id)}"),
        element("style", Html(stylesheet())),
    )
    body = join(
        element("h1", "Prediction and explanation"),
        _identity(report),
        *(_article(report, text, item) for text, item in report.items()),
        _guide(),
    )
    page = element(
        "html",
        element("head", head),
        element("body", body),
        attributes={"lang": "en"},
    )
    return f"<!doctype html>\n{page}\n"


def stylesheet() -> str:
    """Return the style that pages with explanations share."""
    return resources.files(__package__).joinpath("page.css").read_text("utf-8")


def _identity(report: Report) -> Html:
    model, timings = report.reply.model, report.reply.timings
    return element(
        "p",
        f"{printable(model.id)}, version {printable(model.version)},"
        f" {printable(model.precision)}; {timings.infer_seconds:.4f} s in the model"
        " · bundle ",
        element("code", printable(model.digest)),
        cls="faint",
    )


def _article(report: Report, text: TextInput, explanation: Explanation) -> Html:
    prediction = explanation.prediction
    parts = [_verdict(explanation), _bars(report, prediction)]
    if explanation.is_truncated:
        parts.append(
            element(
                "p",
                f"The text was cut to its first {explanation.num_tokens} tokens, the"
                " most that the model takes.",
                cls="warning",
            )
        )
    parts += [element("h2", "Text"), strip(text, explanation)]
    has_gates = explanation.input_gates is not None or (
        explanation.hidden_gates is not None
    )
    if explanation.input_gates is not None:
        parts.append(element("h2", "Input gates: which tokens must be kept?"))
        parts.append(map_table(report, explanation, explanation.input_gates))
    if explanation.hidden_gates is not None:
        parts.append(element("h2", "Hidden gates: which states are needed?"))
        parts.append(
            map_table(report, explanation, explanation.hidden_gates, is_input=False)
        )
    if has_gates:
        parts.append(legend(report.hard_mask_threshold))
    if explanation.verifications:
        parts += [element("h2", "Verification"), _verified(explanation.verifications)]
    return element("article", *parts)


def _verdict(explanation: Explanation) -> Html:
    said = headline(explanation.prediction)
    chance = "" if said.probability is None else f"{said.probability:.1%}"
    return element(
        "div",
        element("strong", said.text),
        element("span", chance, cls="number"),
        element("span", f"{explanation.num_tokens} tokens", cls="faint"),
        cls="verdict",
    )


def _bars(report: Report, prediction: Prediction) -> Html:
    rows = []
    for bar in bars(prediction, report.labels):
        chosen = "chosen" if bar.is_chosen else ""
        ink = element("i", attributes={"style": f"--p:{bar.value:.4f}"})
        rows += [
            element("dt", bar.name, cls=chosen),
            element("dd", ink, cls="track"),
            element("dd", f"{bar.value:.1%}", cls=f"number {chosen}".strip()),
        ]
    return element("dl", *rows, cls="bars")


def _verified(verifications: tuple[Verification, ...]) -> Html:
    headings = ("mask", "tokens kept", "prediction", "from kept tokens", "divergence")
    rows = [element("tr", *(element("th", heading) for heading in headings))]
    for item in verifications:
        cells = (
            element("td", printable(item.state) or "score"),
            element("td", f"{item.kept_share:.0%}"),
            element(
                "td",
                "holds" if item.is_agreeing else "changes",
                cls="" if item.is_agreeing else "warning",
            ),
            element("td", str(headline(item.prediction))),
            element("td", f"{item.divergence:.4f} nats"),
        )
        rows.append(element("tr", *cells))
    return element("table", *rows, cls="plain")


def _guide() -> Html:
    return element(
        "section",
        element("h2", "How to read this"),
        element("ul", *(element("li", line) for line in _GUIDE)),
        cls="guide",
    )
