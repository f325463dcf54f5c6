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
    verdict_cell,
)
from diffmask_training.experiments.results import Results

_PANELS: Mapping[str, str] = {
    "amortised": "(a) DiffMask",
    "own": "(b) one text, own baseline",
    "none": "(c) one text, no learned baseline",
}
# Near nothing is kept, and the label stays: what the paper says of panel (b).
_NEAR_NOTHING = Target(highest=0.05)
_LABEL_STAYS = Target(lowest=0.95)
# That of panel (c): what is found has little to do with what a probe finds.
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


def alone_section(results: Results) -> str:
    """Return the section in Markdown."""
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
            "Hidden gates without a probe, optimised for one text: with a baseline of"
            " its own everything is masked, since that vector comes to carry the"
            " answer; without a learned one, what is kept has little to do with what"
            f" the probe keeps. Means over {len(results.units)} texts"
            f" [95 % interval], {results.settings['seeds']} seeds each.",
            "",
            table(["gates", "measure", "found", "paper says", ""], rows),
            "",
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
    path = f"{panel}.{measure}"
    found = interval_over_units(results, path)
    digits = 1 if scale == 100 else 2
    if found is None:
        cell = "undefined"
    elif scale == 100:
        cell = share_cell(found, digits=digits)
    else:
        cell = mean_cell(found, digits=digits, smallest=-1, largest=1)
    return [
        _PANELS[panel],
        described,
        cell,
        target_cell(target, digits=digits, scale=scale),
        verdict_cell(found, target),
    ]
