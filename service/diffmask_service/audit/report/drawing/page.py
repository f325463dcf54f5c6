"""A report as one page: key figures, then a section for each question."""

from collections.abc import Iterable, Iterator
from importlib import resources

from diffmask_service.audit.report.comparing import name_of
from diffmask_service.audit.report.drawing import figures, texts, words
from diffmask_service.audit.report.drawing.comparison import comparison
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.findings import Findings
from diffmask_service.render.document import document
from diffmask_service.render.markup import Html, element
from diffmask_service.render.report import printable

_LIMITS = (
    "Gates are estimates by small probes, right on average. The fidelity figures above"
    " say how right, for these texts; the divergence of a single text says it for that"
    " text.",
    "A gate says how surely a token is needed for the prediction to stay as it is. It"
    " does not say for which label the token speaks, nor that the reason is good.",
    "Shares have Wilson's intervals, means Student's over texts;"
    " both take texts as drawn independently, and neither knows of a bias in how the"
    " texts were chosen. Many figures stand here: about one interval in twenty misses.",
    "Words are put together by their letters alone, capitals not counted. Different"
    " meanings of one word are one line; forms of one word are several.",
    "The list of suspects is not whole: only a few words were tested, one at a time,"
    " and a shortcut may be a phrase, a name or a format.",
)


def render_report(findings: Findings, *, with_texts: bool = True) -> str:
    """Return a report as a complete HTML document.

    Args:
        findings: What it shows. Texts and names in it may be hostile.
        with_texts: Whether it may hold whole texts. Words are shown in any case, where
            enough texts have them.
    """
    sections = list(_sections(findings, with_texts=with_texts))
    return document(
        f"Audit of {printable(name_of(findings.audit))}",
        _heading(findings),
        _key_figures(findings),
        _contents(sections),
        element(
            "main",
            *(
                element(
                    "section",
                    element("h2", title),
                    *parts,
                    attributes={"id": name, "aria-label": title},
                )
                for name, title, parts in sections
            ),
        ),
        style=_resource("report.css"),
        script=_resource("report.js"),
    )


def _sections(
    findings: Findings, *, with_texts: bool
) -> Iterator[tuple[str, str, list[Html]]]:
    def section(
        name: str, title: str, parts: Iterable[Html]
    ) -> tuple[str, str, list[Html]]:
        return name, title, list(parts)

    yield section("fidelity", "Do the explanations hold?", figures.fidelity(findings))
    yield section("kept", "How much is kept", figures.kept(findings))
    yield section("droppable", "Where it can be dropped", figures.droppable(findings))
    yield section("speech", "Parts of speech", figures.speech(findings))
    yield section("words", "What decides each class", words.deciding(findings))
    yield section("shortcuts", "Suspected shortcuts", words.shortcuts(findings))
    yield section(
        "worst",
        "Texts explained worst",
        texts.worst(findings, with_texts=with_texts),
    )
    yield section("plausibility", "Agreement with people", texts.plausibility(findings))
    if findings.comparison is not None:
        yield section(
            "comparison",
            "Two models side by side",
            comparison(findings.comparison, with_texts=with_texts),
        )
    limits = element("ul", *(element("li", line) for line in _LIMITS))
    yield section("limits", "What this does not show", [limits])


def _heading(findings: Findings) -> Html:
    summary = findings.audit.summary
    errors = summary["num_errors"]
    told = f"{summary['num_rows']:,} rows"
    if errors:
        told += f", {errors:,} of them without an explanation"
    truncated = summary["all"]["num_truncated"]
    if truncated:
        told += f", {truncated:,} cut to the model's limit"
    return element(
        "header",
        element("h1", "Audit of a classifier and its explanations")
        if findings.audit.has_classes
        else element("h1", "Audit of a model and its explanations"),
        element("p", f"{printable(name_of(findings.audit))}; {told}", cls="faint"),
        element(
            "p",
            "bundle ",
            element("code", printable(summary["model"]["digest"])),
            " · input ",
            element("code", printable(summary["input_sha256"])),
            cls="faint",
        ),
    )


def _key_figures(findings: Findings) -> Html:
    group = findings.groups.all
    tiles = [
        _tile("prediction holds from the kept tokens", group.agreement),
        _tile("texts over the margin", group.violation),
        _tile("tokens kept", group.kept),
        _tile("accuracy", group.accuracy),
    ]
    found = findings.shortcuts
    if found is not None and found.words:
        first = found.words[0]
        name = f"texts turned by “{printable(first.deciding.name)}”, the strongest word"
        tiles.append(_tile(name, first.insertion_flips))
    return element("dl", *(tile for tile in tiles if tile), cls="tiles")


def _tile(name: str, estimate: Estimate | None) -> Html:
    if estimate is None:
        return Html()
    return element(
        "div",
        element("dt", name),
        element(
            "dd",
            element("strong", f"{estimate.value:.1%}"),
            element("span", f"{estimate.low:.1%} to {estimate.high:.1%}", cls="range"),
        ),
    )


def _contents(sections: Iterable[tuple[str, str, list[Html]]]) -> Html:
    items = (
        element("li", element("a", title, attributes={"href": f"#{name}"}))
        for name, title, _ in sections
    )
    return element("nav", element("ul", *items), attributes={"aria-label": "Sections"})


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
