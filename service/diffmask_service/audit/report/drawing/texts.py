"""Sections of texts: those explained worst, and how far scores match people's marks."""

from collections.abc import Iterator

import numpy as np

from diffmask_service.audit.report.drawing.tables import figure, heat_map, table
from diffmask_service.audit.report.estimates import Estimate
from diffmask_service.audit.report.findings import Findings
from diffmask_service.audit.report.reading import Explained
from diffmask_service.render.markup import Html, element, join
from diffmask_service.render.report import printable
from diffmask_service.render.strip import shaded

_MAX_CHARACTERS = 1200
_MAX_MAP_TOKENS = 40


def worst(findings: Findings, *, with_texts: bool) -> Iterator[Html]:
    """Yield the texts of the largest divergence."""
    yield element(
        "p",
        "The texts whose prediction moves most when only the kept tokens are left."
        " Where the divergence is large, the explanation leaves out something that the"
        " model uses: do not rely on it, and look for what such texts have in common.",
    )
    if not with_texts:
        # What a model without classes says of a text may be a piece of it.
        is_told = findings.audit.has_classes
        rows = [
            [printable(each.id), *_facts(each, is_told=is_told)]
            for each in findings.worst
        ]
        headings = ["id", "prediction", "divergence", "holds", "tokens kept"]
        yield table(headings, rows, caption="Texts explained worst, without the texts")
        return
    for text in findings.worst:
        yield _article(text, findings.audit.states)


def plausibility(findings: Findings) -> Iterator[Html]:
    """Yield how far scores match what people marked."""
    found = findings.plausibility
    if found is None:
        yield element(
            "p",
            "Not measured: no column gives what people marked (--rationale-column).",
        )
        return
    yield element(
        "p",
        f"Over {found.num_texts:,} texts in which people marked something. This tells"
        " whether the model looks where people look, not whether the explanation is"
        " right: a faithful explanation of a model that reads other cues scores low."
        + (
            f" {found.num_unread:,} rationales mark nothing or could not be read."
            if found.num_unread
            else ""
        )
        + (
            " Marks beyond the end of what the model read do not count."
            if findings.audit.summary["all"]["num_truncated"]
            else ""
        ),
    )
    top, kept = "as many top tokens as people marked", "tokens that the mask keeps"
    rows: list[tuple[str, Estimate | None]] = [
        ("AUPRC of the scores", found.auprc),
        ("AUPRC of tokens in a random order", found.random_auprc),
        ("share of tokens marked", found.marked_share),
        (f"token F1, {top}", found.top_f1),
        (f"token F1, {kept}", found.kept_f1),
    ]
    plain = [
        (f"IOU F1 at half overlap, {top}", found.top_iou_f1),
        (f"IOU F1 at half overlap, {kept}", found.kept_iou_f1),
    ]
    yield table(
        ["measure", "mean over texts"],
        [
            *([name, figure(value, form=".3f", bar=True)] for name, value in rows),
            *([name, f"{value:.3f}"] for name, value in plain),
        ],
        caption="Plausibility, by the measures of ERASER (DeYoung et al. 2020)",
    )


def coloured(text: Explained) -> Html:
    """Return a text with its tokens coloured by their score."""
    return join(
        *(
            element("p", *_pieces(text, written, segment), cls="strip")
            for segment, written in enumerate((text.text, text.text_pair))
            if written is not None
        )
    )


def _article(text: Explained, states: tuple[str, ...]) -> Html:
    prediction, divergence, holds, kept = _facts(text, is_told=True)
    facts = f"{prediction}, divergence {divergence} nats, {kept} of the tokens kept, "
    parts = [
        element(
            "p",
            element("strong", f"id {printable(text.id)}"),
            f" {facts}prediction {holds}"
            + ("; the model read only its beginning" if text.is_truncated else ""),
            cls="faint",
        ),
        coloured(text) if text.text is not None else element("p", "(hashed)"),
    ]
    if text.tokens is not None:
        parts.append(_map(text, states))
    return element("article", *parts)


def _facts(text: Explained, *, is_told: bool) -> tuple[str, str, str, str]:
    chance = "" if text.probability is None else f" {text.probability:.0%}"
    label = f" (labelled {text.label})" if is_told and text.label is not None else ""
    said = text.prediction if is_told else None
    return (
        printable(f"{said or 'prediction'}{chance}{label}"),
        f"{text.divergence:.3f}",
        "holds" if text.is_agreeing else "changes",
        f"{text.kept_share:.0%}",
    )


def _map(text: Explained, states: tuple[str, ...]) -> Html:
    words = np.flatnonzero(~text.is_special)
    top = words[np.argsort(-text.scores[words], kind="stable")[:_MAX_MAP_TOKENS]]
    names = text.tokens or ()
    rows = [
        (
            names[position],
            [_exact(float(value)) for value in text.input_gates[:, position]],
        )
        for position in sorted(top.tolist())
    ]
    left_out = len(words) - len(top)
    note = f"; {left_out} tokens of lower score left out" if left_out else ""
    return element(
        "details",
        element("summary", "Input gates by state"),
        heat_map(rows, states, caption=f"Input gates{note}", first="token"),
    )


def _exact(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, num=1)


def _pieces(text: Explained, written: str, segment: int) -> Iterator[str]:
    is_here = (text.segments == segment) & ~text.is_special
    done, shown = 0, written[:_MAX_CHARACTERS]
    for index in np.flatnonzero(is_here).tolist():
        start, end = int(text.starts[index]), int(text.ends[index])
        if start < done or end > len(shown):
            continue
        yield printable(shown[done:start])
        score = float(text.scores[index])
        yield shaded("span", printable(shown[start:end]), score, title=f"{score:.3f}")
        done = end
    yield printable(shown[done:])
    if len(written) > len(shown):
        yield f" … ({len(written) - len(shown):,} more characters)"
