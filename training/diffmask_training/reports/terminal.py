"""The report in a terminal: the figures that most people ask for first."""

from rich.console import Console
from rich.table import Table

from diffmask_training.faithfulness.catalogue import CATALOGUE
from diffmask_training.metrics.intervals import Estimate
from diffmask_training.reports.values import Report, standing

# The rest is in the JSON file and on the page.
_SHOWN = (
    "comprehensiveness",
    "sufficiency",
    "log_odds",
    "tau_loo",
    "racu",
    "naopc_comprehensiveness",
)


def print_report(console: Console, report: Report) -> None:
    """Print the main figures of a report, where it has any."""
    if report.rankings is not None:
        title = f"orders of words, {report.provenance.num_texts} texts, 95 % intervals"
        table = _table(
            title, "figure", "removal", "by", "explanation", "random", "than chance"
        )
        for figure in report.rankings:
            entry, comparison = CATALOGUE[figure.name], figure.comparison
            if figure.name in _SHOWN and comparison is not None:
                table.add_row(
                    f"{entry.title} {'↑' if entry.is_higher_better else '↓'}",
                    figure.removal.replace("_", " "),
                    figure.explainer,
                    _text(comparison.score),
                    f"{comparison.control.mean:.3f}",
                    standing(comparison, is_higher_better=entry.is_higher_better),
                )
        console.print(table)
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


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _text(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
