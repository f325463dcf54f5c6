"""Figure 13: methods side by side on hidden states."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from diffmask_training.experiments.report.cells import (
    interval_over_units,
    mean_cell,
    share_cell,
    table,
    trials,
)
from diffmask_training.experiments.results import Results

_NAMES: Mapping[str, str] = {
    "diffmask": "DiffMask",
    "erasure": "Erasure, one state at a time",
    "integrated_gradients": "Integrated gradients",
    "schulz": "Schulz et al. 2020",
    "guan": "Guan et al. 2019",
    "random": "Random order",
}


def methods_section(results: Results, *, tried: list[Results]) -> str:
    """Return the section in Markdown.

    Args:
        results: Of every method on the same texts.
        tried: The same under other settings.
    """
    kept = interval_over_units(results, "kept_share")
    return "\n".join(
        [
            "## Figure 13: methods side by side on hidden states",
            "",
            "At each state of a text every method keeps as many tokens as DiffMask's"
            f" hard mask does ({share_cell(kept, digits=1)} %), its highest"
            " ones, and DiffMask's baseline, which the other methods know nothing of,"
            f" takes the place of the rest. Means over {len(results.units)} texts"
            " [95 % interval]. Schulz et al. and Guan et al. run for"
            f" {results.settings['num_steps']} steps with the weights that they have in"
            " the counting task (the authors' code weighs the entropy of Guan et al."
            " 0.1 here, not 1), and the noise of Schulz et al. is like the tokens of"
            " these texts.",
            "",
            table(
                [
                    "method",
                    "predictions kept, %",
                    "divergence, nats",
                    "rank correlation with DiffMask",
                ],
                [_row(results, method) for method in _NAMES],
            ),
            "",
            trials(results, tried, _describe),
            "![Figure 13](figure-13.svg)",
            "",
            "Attributions to the states of the first text, each method's scaled by its"
            " own largest; DiffMask's gates need no scaling.",
            "",
        ]
    )


def draw_methods(results: Results) -> Figure:
    """Return figure 13."""
    unit = next(iter(results.units.values()))
    states, tokens = results.settings["states"], unit["tokens"]
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True, squeeze=False)
    for panel, (method, title) in zip(axes.flat, _NAMES.items(), strict=True):
        attribution = np.array(unit["methods"][method]["attribution"]).clip(min=0)
        scale = 1.0 if method == "diffmask" else attribution.max() or 1.0
        panel.imshow(
            attribution / scale,
            vmin=0,
            vmax=1,
            cmap="cividis",
            aspect="auto",
            origin="lower",
        )
        panel.set_xticks(range(len(tokens)), tokens, rotation=70, fontsize=7)
        panel.set_yticks(range(len(states)), states, fontsize=8)
        panel.set_title(title, fontsize=10)
    return figure


def _row(results: Results, method: str) -> list[str]:
    found = {
        measure: interval_over_units(results, f"methods.{method}.{measure}")
        for measure in ("agreement", "divergence", "correlation")
    }
    return [
        _NAMES[method],
        share_cell(found["agreement"], digits=1),
        mean_cell(found["divergence"], digits=3, smallest=0),
        "undefined"
        if found["correlation"] is None
        else mean_cell(found["correlation"], digits=2, smallest=-1, largest=1),
    ]


def _describe(results: Results) -> str:
    kept = {
        method: interval_over_units(results, f"methods.{method}.agreement")
        for method in _NAMES
    }
    cells = ", ".join(
        f"{_NAMES[method]} {share_cell(found, digits=1)}"
        for method, found in kept.items()
    )
    return f"predictions kept, %: {cells}"
