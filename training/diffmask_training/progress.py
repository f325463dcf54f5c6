"""What a person sees of a fit: a bar, and the figures of every state under it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from diffmask_training.duality import StepFigures
from diffmask_training.figures import Figures
from diffmask_training.fit import Watcher
from diffmask_training.verdict import Verdict

# A running mean over about this many steps keeps the display readable.
_WINDOW_STEPS = 50


class Display:
    """Shows a fit while it runs; plain lines for each epoch where there is no terminal.

    Attributes:
        console: Where it is shown.
        epochs: Epochs in all.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs
        self._progress = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("epoch 1", total=None)
        self._live: Live | None = None
        self._states: tuple[str, ...] = ()
        self._running: dict[int, StepFigures] = {}

    @contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Show what the yielded watcher is told."""
        watcher = Watcher(
            on_start=self._start,
            on_step=self._step,
            on_epoch=self._epoch,
            on_finish=self._finish,
        )
        if not self.console.is_terminal:
            yield watcher
            return
        with Live(console=self.console, refresh_per_second=4) as live:
            self._live = live
            yield watcher

    def _start(self, states: Sequence[str], steps: int) -> None:
        self._states = tuple(states)
        self._progress.update(self._task, total=steps)

    def _step(self, figures: Sequence[StepFigures]) -> None:
        for new in figures:
            old = self._running.get(new.state_index, new)
            self._running[new.state_index] = _blend(old, new)
        self._progress.advance(self._task)
        if self._live is not None:
            self._live.update(Group(self._progress, self._running_table()))

    def _epoch(
        self, epoch: int, figures: Figures, multipliers: Sequence[float]
    ) -> None:
        self._print(f"epoch {epoch} of {self.epochs}", figures, multipliers)
        self._progress.reset(self._task, description=f"epoch {epoch + 1}")

    def _finish(
        self, epoch: int, figures: Figures, multipliers: Sequence[float]
    ) -> None:
        self._print(f"epoch {epoch} calibrated", figures, multipliers)

    def _print(self, what: str, figures: Figures, multipliers: Sequence[float]) -> None:
        title = (
            f"{what}, hard masks, {figures.num_texts} texts:"
            f" {1 - figures.mean('kept_share'):.1%} masked,"
            f" {figures.mean('agreement'):.1%} of predictions kept"
        )
        after = figures.mean_if_labelled("macro_f1")
        if after is not None and figures.macro_f1 is not None:
            title += f", macro F1 {figures.macro_f1:.4f} to {after:.4f}"
        # Not as the table's title, which would be wrapped to the table's width.
        self.console.print(title, soft_wrap=True, highlight=False)
        self.console.print(figures_table(figures, multipliers))

    def _running_table(self) -> Table:
        table = _empty_table("training, sampled masks, running means")
        for index, state in enumerate(self._states):
            seen = self._running.get(index)
            if seen is not None:
                table.add_row(
                    state,
                    f"{seen.kept_share:.1%}",
                    "",
                    f"{seen.divergence:.3f}",
                    f"{seen.violation_rate:.1%}",
                    f"{seen.multiplier:.2f}",
                )
        return table


def figures_table(figures: Figures, multipliers: Sequence[float]) -> Table:
    """Return a table with one row for each state."""
    table = _empty_table()
    for state, multiplier in zip(figures.states, multipliers, strict=True):
        table.add_row(
            state.state,
            f"{state.kept_share:.1%}",
            f"{state.agreement:.1%}",
            f"{state.divergence:.3f}",
            f"{state.violation_rate:.1%}",
            f"{multiplier:.2f}",
            "" if state.macro_f1 is None else f"{state.macro_f1:.4f}",
        )
    return table


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return what a person is told at the end of a fit."""
    kept = verdict.kept_shares.values()
    lines = [
        f"verdict: {verdict.outcome}"
        + (f" in {', '.join(over)}" if (over := verdict.states_over_limit) else ""),
        f"  margin {verdict.margin:.3g} nats, {_times(verdict)} the mean entropy of the"
        f" model's own predictions, {verdict.output_entropy:.3g} nats",
        f"  divergence {verdict.divergence:.3f} nats, {verdict.violation_rate:.1%} of"
        f" the texts over the margin, {verdict.agreement:.1%} of predictions kept",
        f"  tokens kept {sum(kept) / len(kept):.1%}, from {min(kept):.1%} to"
        f" {max(kept):.1%} by state",
        f"  the removed part alone gives {verdict.complement_agreement:.1%} of the"
        " predictions",
    ]
    if verdict.states_at_bound:
        lines.append(
            f"  multipliers at their largest: {', '.join(verdict.states_at_bound)}"
        )
    return lines + [f"  try: {advice}" for advice in verdict.advice]


def _times(verdict: Verdict) -> str:
    if verdict.output_entropy == 0:
        return "against"
    return f"{verdict.margin / verdict.output_entropy:.2f} times"


def _empty_table(title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("state")
    for name in (
        "kept",
        "agreement",
        "divergence",
        "violations",
        "multiplier",
        "macro F1",
    ):
        table.add_column(name, justify="right")
    return table


def _blend(old: StepFigures, new: StepFigures) -> StepFigures:
    share = 1 / _WINDOW_STEPS
    return StepFigures(
        state_index=new.state_index,
        kept_share=old.kept_share + share * (new.kept_share - old.kept_share),
        divergence=old.divergence + share * (new.divergence - old.divergence),
        violation_rate=old.violation_rate
        + share * (new.violation_rate - old.violation_rate),
        multiplier=new.multiplier,
    )
