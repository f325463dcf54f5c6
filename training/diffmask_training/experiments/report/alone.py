"""Figure 12: gates of single texts, with and without a probe."""

from collections.abc import Mapping

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from diffmask_training.experiments.report.cells import (
    Target,
    interval_over_units,
    mean_cell,
    share_cell,
    table,
    target_cell,
    trials,
    verdict_cell,
)
from diffmask_training.experiments.results import Results

_PANELS: Mapping[str, str] = {
    "amortised": "(a) DiffMask",
    "own": "(b) one text, own baseline",
    "none": "(c) one text, no learned baseline",
}
# The paper says what panels (b) and (c) show, but gives no figures. Of (b): near
# nothing is kept, and the label stays.
_NEAR_NOTHING = Target(highest=0.05)
_LABEL_STAYS = Target(lowest=0.95)
# Of (c): what is found has little to do with what a probe finds, or another seed.
_NO_PATTERN = Target(highest=0.3)
_TARGETS: Mapping[tuple[str, str], Target] = {
    ("own", "kept_share"): _NEAR_NOTHING,
    ("own", "agreement"): _LABEL_STAYS,
    ("none", "correlation_with_amortised"): _NO_PATTERN,
    ("none", "correlation_of_seeds"): _NO_PATTERN,
}
_MEASURES: Mapping[str, tuple[str, int]] = {
    "kept_share": ("states kept, %", 100),
    "agreement": ("predictions kept, %", 100),
    "correlation_with_amortised": ("rank correlation with (a)", 1),
    "correlation_of_seeds": ("rank correlation between seeds", 1),
}


def alone_section(results: Results, *, tried: list[Results]) -> str:
    """Return the section in Markdown.

    Args:
        results: Of single texts.
        tried: The same under other settings.
    """
    rows = [
        row
        for panel in _PANELS
        for measure in _MEASURES
        if measure in next(iter(results.units.values()))[panel]
        for row in [_row(results, panel, measure)]
    ]
    return "\n".join(
        [
            "## Figure 12: gates of one text alone",
            "",
            "Hidden gates without a probe, optimised for one text. The paper says that"
            " with a baseline of its own every state is masked, since that vector comes"
            " to carry the answer (b), and that without a learned one no meaningful"
            " pattern is found (c). It says so of one picture and gives no figures: the"
            f" targets are ours. Means over {len(results.units)} texts"
            f" [95 % interval], {results.settings['seeds']} seeds each.",
            "",
            table(["gates", "measure", "found", "target, ours", ""], rows),
            "",
            trials(results, tried, _describe),
            "![Figure 12](figure-12.svg)",
            "",
            "Gates of the first text, first seed.",
            "",
        ]
    )


def draw_alone(results: Results) -> Figure:
    """Return figure 12."""
    unit = next(iter(results.units.values()))
    states, tokens = results.settings["states"], unit["tokens"]
    # A keep probability means the same in every panel.
    scale = Normalize(vmin=0, vmax=1)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for panel, (name, title) in zip(axes, _PANELS.items(), strict=True):
        panel.imshow(
            np.array(unit[name]["keep_probability"]),
            norm=scale,
            cmap="cividis",
            aspect="auto",
            origin="lower",
        )
        panel.set_xticks(range(len(tokens)), tokens, rotation=60)
        panel.set_yticks(range(len(states)), states)
        panel.set_title(title, fontsize=10)
    figure.colorbar(ScalarMappable(norm=scale, cmap="cividis"), ax=axes, shrink=0.8)
    return figure


def _row(results: Results, panel: str, measure: str) -> list[str]:
    described, scale = _MEASURES[measure]
    target = _TARGETS.get((panel, measure))
    return [
        _PANELS[panel],
        described,
        _cell(results, panel, measure),
        target_cell(target, digits=_digits(scale), scale=scale),
        verdict_cell(interval_over_units(results, f"{panel}.{measure}"), target),
    ]


def _cell(results: Results, panel: str, measure: str) -> str:
    _, scale = _MEASURES[measure]
    found = interval_over_units(results, f"{panel}.{measure}")
    if found is None:
        return "undefined"
    if scale == 100:
        return share_cell(found, digits=_digits(scale))
    return mean_cell(found, digits=_digits(scale), smallest=-1, largest=1)


def _digits(scale: int) -> int:
    return 1 if scale == 100 else 2


def _describe(results: Results) -> str:
    return "; ".join(
        f"{_PANELS[panel]}: {_MEASURES[measure][0]} {_cell(results, panel, measure)}"
        for panel, measure in _TARGETS
    )
