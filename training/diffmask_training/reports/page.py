"""The report as one HTML page: opens offline, runs no script, asks nobody for anything.

What a text says reaches the page through the template's escaping alone, and the
content security policy forbids every request and every script besides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined

from diffmask_training.faithfulness.catalogue import CATALOGUE, Entry
from diffmask_training.faithfulness.rankings import RankingFigure
from diffmask_training.leakage.verdicts import overall
from diffmask_training.metrics.intervals import Comparison, Estimate
from diffmask_training.reports.values import Report, Standing, standing

_REMOVAL_NAMES = {
    "mask_token": "[MASK] in a token's place",
    "attention_drop": "no attention to a token",
    "learned_baseline": "the probe's baseline in a token's place",
    "zeroed_coordinates": "coordinates of embeddings zeroed by chance",
}
_TEST_NAMES = {
    "mask_only": "label told from the mask's pattern",
    "evaluator_gap": "model over evaluator on masked texts",
    "encode_meter": "encode-meter, nats",
    "all_baseline": "sure of a label with all masked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one explainer, with its picture's places.

    Attributes:
        entry: What the figure is.
        explainer: Whose scores.
        comparison: The figure, its control and the difference; None where too few texts
            define it.
        standing: Whether it is better than chance; None without a comparison.
        marks: Places in the picture, percent of its width.
    """

    entry: Entry
    explainer: str
    comparison: Comparison | None
    standing: Standing | None
    marks: "Marks | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Places in the picture of one figure, percent of its width from the left.

    Attributes:
        zero: Of the value 0.
        score: Of mean, low and high end of the explanation's figure.
        control: Of the control's.
    """

    zero: float
    score: tuple[float, float, float]
    control: tuple[float, float, float]


def render_page(report: Report) -> str:
    """Return a complete HTML document.

    Args:
        report: What to show. Its texts may be hostile.
    """
    environment = Environment(
        loader=PackageLoader("diffmask_training.reports", package_path="."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = tuple(_ranking_tables(report.rankings or ()))
    rows = [row for _, table in tables for row in table]
    return environment.get_template("page.html.jinja").render(
        report=report,
        style=resources.files(__package__).joinpath("page.css").read_text("utf-8"),
        removal_names=_REMOVAL_NAMES,
        test_names=_TEST_NAMES,
        mask_tables=tuple(_mask_tables(report)),
        ranking_tables=tables,
        num_better=sum(
            row.standing == "better" for row in rows if row.explainer == "DiffMask"
        ),
        num_compared=sum(
            row.standing is not None for row in rows if row.explainer == "DiffMask"
        ),
        verdict=None if report.leakage is None else overall(report.leakage),
        share=lambda value: f"{value:.1%}",
        number=_number,
        interval=_interval,
    )


def _mask_tables(report: Report) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    for (kind, removal), group in groupby(
        report.masks or (), key=lambda figures: (figures.kind, figures.removal)
    ):
        yield kind, removal, tuple(group)


def _ranking_tables(
    figures: Sequence[RankingFigure],
) -> Iterator[tuple[str, tuple[Row, ...]]]:
    for removal in _REMOVAL_NAMES:
        rows = [
            _row(figure)
            for name in CATALOGUE
            for figure in figures
            if figure.name == name and figure.removal == removal
        ]
        if rows:
            yield removal, tuple(rows)


def _row(figure: RankingFigure) -> Row:
    entry, comparison = CATALOGUE[figure.name], figure.comparison
    return Row(
        entry=entry,
        explainer=figure.explainer,
        comparison=comparison,
        standing=None
        if comparison is None
        else standing(comparison, is_higher_better=entry.is_higher_better),
        marks=None if comparison is None else _marks(entry, comparison),
    )


def _marks(entry: Entry, comparison: Comparison) -> Marks:
    def place(value: float) -> float:
        share = (value - entry.low) / (entry.high - entry.low)
        return round(100 * min(1.0, max(0.0, share)), 2)

    def places(estimate: Estimate) -> tuple[float, float, float]:
        return place(estimate.mean), place(estimate.low), place(estimate.high)

    return Marks(
        zero=place(0.0),
        score=places(comparison.score),
        control=places(comparison.control),
    )


def _number(value: float) -> str:
    # A hyphen is no minus sign, and -0.000 is 0.
    text = f"{value:.3f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _interval(estimate: Estimate) -> str:
    return f"{_number(estimate.low)} to {_number(estimate.high)}"
