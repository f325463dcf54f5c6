"""The report in a terminal: the figures that most people ask for first."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from diffmask_training.faithfulness.catalogue import CATALOGUE
from diffmask_training.faithfulness.rankings import RankingFigure
from diffmask_training.metrics.intervals import Estimate
from diffmask_training.reports.values import Report, Standing, standing

# The rest is in the JSON file and on the page.
_SHOWN = (
    "comprehensiveness_top",
    "sufficiency_top",
    "normalised_comprehensiveness",
    "normalised_sufficiency",
    "log_odds",
    "comprehensiveness",
    "sufficiency",
    "tau_loo",
    "racu",
    "naopc_comprehensiveness",
)
# Beside a figure, so that nothing hangs on colours.
_MARKS: dict[Standing, str] = {"better": " ✓", "no different": "", "worse": " ✗"}


def print_report(console: Console, report: Report) -> None:
    """Print the main figures of a report, where it has any."""
    if report.rankings is not None:
        console.print(
            f"orders of words, {report.provenance.num_texts} texts, means with 95 %"
            " intervals; ✓ better and ✗ worse than random orders",
            soft_wrap=True,
            highlight=False,
        )
        for removal in dict.fromkeys(figure.removal for figure in report.rankings):
            figures = [each for each in report.rankings if each.removal == removal]
            if any(each.name in _SHOWN for each in figures):
                console.print(_rankings_table(removal.replace("_", " "), figures))
    if report.leakage is not None:
        table = _table("leakage", "test", "masks of", "figure", "at most", "verdict")
        for check in report.leakage:
            table.add_row(
                check.test.replace("_", " "),
                f"{check.kind}, {check.state}",
                _text(check.figure),
                f"{check.threshold:g}",
                check.verdict,
            )
        console.print(table)


def _rankings_table(removal: str, figures: Sequence[RankingFigure]) -> Table:
    explainers = tuple(dict.fromkeys(figure.explainer for figure in figures))
    table = _table(f"removal: {removal}", "", *explainers, "random")
    by_place = {(figure.name, figure.explainer): figure for figure in figures}
    for name in _SHOWN:
        row = [by_place.get((name, explainer)) for explainer in explainers]
        compared = [each.comparison if each else None for each in row]
        if any(compared):
            entry = CATALOGUE[name]
            cells = [
                ""
                if comparison is None
                else _text(comparison.score)
                + _MARKS[standing(comparison, is_higher_better=entry.is_higher_better)]
                for comparison in compared
            ]
            control = next(each.control for each in compared if each is not None)
            table.add_row(
                f"{entry.title} {'↑' if entry.is_higher_better else '↓'}",
                *cells,
                f"{control.mean:.3f}",
            )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _text(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
