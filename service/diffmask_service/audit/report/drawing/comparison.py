"""The section that sets two audits of the same data side by side."""

from collections.abc import Callable, Iterator

from diffmask_service.audit.report.comparing import Comparison
from diffmask_service.audit.report.drawing.charts import Series, line_chart
from diffmask_service.audit.report.drawing.tables import count, figure, table
from diffmask_service.audit.report.drawing.texts import coloured
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.groups import Group
from diffmask_service.render.markup import Html, element
from diffmask_service.render.report import printable

_MAX_CHANGES = 30
_FIGURES: tuple[tuple[str, str, Callable[[Group], Estimate | None]], ...] = (
    ("accuracy", ".1%", lambda group: group.accuracy),
    ("prediction holds from kept tokens", ".1%", lambda group: group.agreement),
    ("texts over the margin", ".1%", lambda group: group.violation),
    ("divergence, nats", ".3f", lambda group: group.divergence),
    ("tokens kept", ".1%", lambda group: group.kept),
)


def comparison(found: Comparison, *, with_texts: bool) -> Iterator[Html]:
    """Yield both audits' figures, their agreement and where they differ."""
    names = tuple(map(printable, found.names))
    yield element(
        "p",
        f"A is {names[0]}; B is {names[1]}. Figures are over the {found.num_texts:,}"
        " texts that both explained. The rank correlation says whether the same words"
        " of a text matter to both; two models may well agree on labels for different"
        " reasons. Each interval is of one figure: two that overlap a little can still"
        " differ.",
    )
    yield table(
        ["figure", "A", "B"],
        [
            [name, *(figure(value, form=form) for value in values)]
            for name, form, values in _sides(found.groups)
        ]
        + [
            [name, *("not known" if each is None else f"{each:g}" for each in values)]
            for name, values in (
                ("margin of the probes, nats", found.margins),
                ("score from which a token is kept", found.thresholds),
            )
            if values[0] != values[1]
        ],
        caption="Side by side, with 95 % intervals",
    )
    yield from _agreement(found)
    if found.num_texts and found.states[0] == found.states[1]:
        yield line_chart(
            [
                Series(name=f"{side}: {name}", estimates=group.kept_by_state)
                for side, name, group in zip("AB", names, found.groups, strict=True)
            ],
            found.states[0],
            title="Kept share by state, A and B",
            axis="share of a text's tokens",
        )
    yield from _counts(found)
    if with_texts and found.examples:
        yield element("h3", "Where the scores differ most")
        for example in found.examples:
            yield element(
                "article",
                element(
                    "p",
                    element("strong", f"id {printable(example.ours.id)}"),
                    f" rank correlation {example.correlation:.2f}; A:"
                    f" {printable(example.ours.prediction or '')}, B:"
                    f" {printable(example.theirs.prediction or '')}",
                    cls="faint",
                ),
                element("p", "A", cls="faint"),
                coloured(example.ours),
                element("p", "B", cls="faint"),
                coloured(example.theirs),
            )


def _agreement(found: Comparison) -> Iterator[Html]:
    rows = []
    if found.agreement is not None:
        rows.append(["same prediction", figure(found.agreement, bar=True)])
    caption = "A against B"
    if found.correlation is not None:
        value = figure(found.correlation, form=".3f")
        rows.append(["rank correlation of scores", value])
        caption += (
            f"; the correlation is the mean over {found.correlation.num:,} texts, as it"
            " is not defined where either's scores are all the same"
        )
    if rows:
        yield table(["agreement", "value"], rows, caption=caption)


def _sides(
    groups: tuple[Group, Group],
) -> Iterator[tuple[str, str, list[Estimate | None]]]:
    for name, form, read in _FIGURES:
        values = [read(group) for group in groups]
        if any(value is not None for value in values):
            yield name, form, values


def _counts(found: Comparison) -> Iterator[Html]:
    changed = sorted(
        (item for item in found.changes.items() if item[0][0] != item[0][1]),
        key=lambda item: -item[1],
    )
    if changed:
        yield table(
            ["A predicts", "B predicts", "texts"],
            [
                [printable(a), printable(b), count(num)]
                for (a, b), num in changed[:_MAX_CHANGES]
            ],
            caption="Predictions that differ"
            + (
                f", the {_MAX_CHANGES} most frequent of {len(changed)} pairs"
                if len(changed) > _MAX_CHANGES
                else ""
            ),
            cls="sortable",
        )
    if found.correct:
        told = {True: "right", False: "wrong"}
        yield table(
            ["A", "B", "texts"],
            [
                [told[a], told[b], count(num)]
                for (a, b), num in sorted(found.correct.items(), reverse=True)
            ],
            caption="Against the true labels",
        )
