"""Explanations as text for a terminal, by way of rich."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from diffmask_service.core.predictions import Prediction
from diffmask_service.core.values import Explanation, TextInput, Verification
from diffmask_service.render.heat_map import HeatMap
from diffmask_service.render.predictions import bars, headline
from diffmask_service.render.report import Report, printable

_BAR_WIDTH = 30
_BAR_STYLE = "#2f6db0"


@dataclass(frozen=True, slots=True)
class TerminalView:
    """Every explanation of a report: text, probabilities, heat map, verification."""

    report: Report

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Yield one explanation after another, then which model gave them."""
        for text, explanation in self.report.items():
            yield from self._explanation(text, explanation, options)
        reply = self.report.reply
        model = reply.model
        yield Text(
            printable(
                f"{model.id} version {model.version} ({model.precision},"
                f" {model.digest[:12]}), {reply.timings.infer_seconds:.4f} s in the"
                " model"
            ),
            style="dim",
        )

    def _explanation(
        self, text: TextInput, explanation: Explanation, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield Text(printable(text.text), style="italic")
        if text.text_pair is not None:
            yield Text(printable(text.text_pair), style="italic")
        if explanation.is_truncated:
            yield Text(
                f"Cut to its first {explanation.num_tokens} tokens, the most that the"
                " model takes.",
                style="yellow",
            )
        yield Text()
        yield from self._probabilities(
            explanation.prediction, "#." if options.ascii_only else "█·"
        )
        yield Text()
        if explanation.is_left_out:
            yield Text(
                "No explanation: the prediction does not meet the condition for one.",
                style="yellow",
            )
            yield Text()
        if explanation.units is not None and explanation.scores is not None:
            gates_by_title = {
                "input gates": explanation.input_gates,
                "hidden gates": explanation.hidden_gates,
            }
            yield HeatMap(
                units=explanation.units,
                scores=explanation.scores,
                states=self.report.reply.states,
                gates_by_title={
                    title: gates
                    for title, gates in gates_by_title.items()
                    if gates is not None
                },
                droppable_from=self.report.droppable_from(explanation),
            )
            yield Text()
        for verification in explanation.verifications:
            yield _verification(verification)
        if explanation.verifications:
            yield Text()

    def _probabilities(self, prediction: Prediction, ink: str) -> Iterator[Text]:
        shown = bars(prediction, self.report.labels)
        if not shown:
            yield Text(str(headline(prediction)), style="bold")
        width = max((len(bar.name) for bar in shown), default=0)
        for bar in shown:
            filled = int(bar.value * _BAR_WIDTH)
            line = Text(f"{bar.name:<{width}}  ", style="bold" if bar.is_chosen else "")
            line.append(ink[0] * filled, style=_BAR_STYLE)
            line.append(ink[1] * (_BAR_WIDTH - filled), style="dim")
            yield line.append(f"  {bar.value:6.1%}")


def _verification(verification: Verification) -> Text:
    mask = f"mask of {printable(verification.state)}"
    line = Text(
        f"{mask if verification.state else 'score mask'} keeps"
        f" {verification.kept_share:.0%} of tokens: "
    )
    line.append(
        "prediction holds" if verification.is_agreeing else "PREDICTION CHANGES",
        style="bold" if verification.is_agreeing else "bold red",
    )
    return line.append(
        f", {headline(verification.prediction)}, {verification.divergence:.3f} nats"
    )
