import io

from rich.console import Console

from diffmask_training.duality import StepFigures
from diffmask_training.figures import Figures, StateFigures
from diffmask_training.progress import Display

FIGURES = Figures(
    num_texts=10,
    accuracy=0.9,
    macro_f1=0.89,
    states=(
        StateFigures(
            state="block_1",
            kept_share=0.25,
            agreement=0.95,
            divergence=0.123,
            excess=0.01,
            violation_rate=0.2,
            accuracy=0.88,
            macro_f1=0.87,
        ),
    ),
)
STEP = StepFigures(
    state_index=0, kept_share=0.4, divergence=0.5, violation_rate=0.6, multiplier=7.5
)


def _shown(*, is_terminal: bool) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=is_terminal, width=160, color_system=None
    )
    with Display(console, epochs=3).watching() as watcher:
        watcher.on_start(("block_1",), 5)
        watcher.on_step((STEP,))
        watcher.on_epoch(1, FIGURES, (7.5,))
        watcher.on_step((STEP,))
        watcher.on_finish(1, FIGURES, (7.5,))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_epoch_shows_the_figures_of_every_state() -> None:
    shown = _shown(is_terminal=False)
    for figure in ("75.0% masked", "95.0% of predictions kept", "0.8900 to 0.8700"):
        assert figure in shown
    for figure in ("block_1", "25.0%", "0.123", "20.0%", "7.50", "0.8700"):
        assert figure in shown


def test_calibrated_epoch_is_shown() -> None:
    assert "epoch 1 calibrated" in _shown(is_terminal=False)


def test_terminal_also_shows_the_running_means() -> None:
    shown = _shown(is_terminal=True)
    assert "running means" in shown
    assert "epoch 2" in shown
    assert "40.0%" in shown


def test_log_file_gets_no_bar() -> None:
    assert "running means" not in _shown(is_terminal=False)
