"""Table 1, figures 3 and 11: the counting task."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from diffmask_training.errors import DataError
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

_NAMES = {
    "diffmask": "DiffMask, ours",
    "diffmask_published": "DiffMask, optimised as published",
    "exact_erasure": "Exact erasure",
    "integrated_gradients": "Integrated gradients (Sundararajan et al. 2017)",
    "schulz": "Schulz et al. 2020",
    "guan": "Guan et al. 2019",
}
# Table 1 of the paper, which prints a dash for what is infinite; for the published
# optimisation what the authors' own notebook prints, which is not what the table does.
_PAPER: Mapping[str, tuple[str, str]] = {
    "diffmask": ("0.01", "0.00"),
    "diffmask_published": ("0.01 (their code: 0.037)", "0.00 (their code: 0.013)"),
    "exact_erasure": ("-", "0.27"),
    "integrated_gradients": ("1.32", "0.27"),
    "schulz": ("1.12", "0.18"),
    "guan": ("0.88", "0.24"),
}
_TARGETS = {
    "diffmask": (Target(highest=0.01), Target(highest=0.005)),
    **{
        name: (Target(lowest=kl - 0.1, highest=kl + 0.1), None)
        for name, kl in (
            ("integrated_gradients", 1.32),
            ("schulz", 1.12),
            ("guan", 0.88),
        )
    },
}
_PANELS = {
    "exact_erasure": "(a) exact erasure",
    "schulz": "(b) Schulz et al.",
    "integrated_gradients": "(c) integrated gradients",
    "guan": "(d) Guan et al.",
    "diffmask_word_embeddings": "(e) DiffMask, from embeddings",
    "diffmask_feed_forward": "(e) DiffMask, from hidden states",
}
_DIGITS = "883139"
# Read off the authors' own picture of the example: it masks the hidden states, not, as
# the paper says, the input by them.
_PAPER_BARS = {
    "diffmask_word_embeddings": [1 / 6] * 6,
    "diffmask_feed_forward": [0.327, 0.327, 0.01, 0.316, 0.01, 0.01],
}
_ROLES = {
    "first": "first digit of the query",
    "second": "second digit of the query",
    "neither": "another digit",
}
# Readable for those who do not tell red from green (Okabe and Ito).
_COLOURS = ("#0072B2", "#D55E00", "#999999")


def toy_section(
    results: Results, others: list[Results], *, tried: Mapping[str, list[Results]]
) -> str:
    """Return the section in Markdown.

    Args:
        results: Of our probes.
        others: Of other methods on the same models.
        tried: The same under other settings, by the name of each experiment.

    Raises:
        DataError: Other methods explained other models.
    """
    figures = [
        (file, name) for file in (results, *others) for name in _explained_by(file)
    ]
    for other in others:
        _refuse_other_models(results, other)
    num_models = len(results.units)
    accuracy = interval_over_units(results, "accuracy")
    probe = {
        name: share_cell(interval_over_units(results, f"probe.{name}"), digits=1)
        for name in (
            "agreement",
            "kept_share",
            "keep_probability_of_queried",
            "keep_probability_of_others",
        )
    }
    return "\n".join(
        [
            "## Table 1: a task whose explanation is known",
            "",
            "Are there more of one digit than of another in a sequence? The answer"
            " rests on all occurrences of either digit, each as much, so attributions"
            " to hidden states have a true value. Divergences from it in nats, means"
            f" over seeds [95 % interval] of {num_models} models, on"
            f" {results.settings['num_items'] // 10} test questions each, less those"
            " without any digit of their query, which have no true value.",
            "",
            table(
                ["method", "KL", "paper", "target", "", "JS", "paper", "target", ""],
                [_row(file, name, num_models=num_models) for file, name in figures],
            ),
            "",
            f"Models answer {share_cell(accuracy, digits=2)} % of the test"
            " questions rightly (paper: over 99 %). Under the probes' hard masks"
            f" {probe['agreement']} % of the answers stay, with"
            f" {probe['kept_share']} % of the states kept. A state of one of the"
            f" query's digits is kept with probability"
            f" {probe['keep_probability_of_queried']} %, another with"
            f" {probe['keep_probability_of_others']} %.",
            "",
            *(
                trials(
                    file,
                    tried.get(file.experiment, []),
                    _describe,
                    of="" if file is results else f"`{file.experiment}`",
                )
                for file in (results, *others)
            ),
            "![Attributions of one question](figure-3.svg)",
            "",
            "Figure 3: attributions to the digits of *are there more 8s than 1s in"
            " 8 8 3 1 3 9?*, bars the mean over seeds with its range, crosses read off"
            " the authors' picture, whose second panel masks the hidden states where"
            " ours masks the digits. In the paper nothing can be dropped yet from the"
            " embeddings, and"
            " from the hidden states, which have seen the query, all but its digits;"
            " where bars and crosses differ, that was not found here.",
            "",
            "![Hidden states by role](figure-11.svg)",
            "",
            "Figure 11: hidden states by what they stand for, one panel a model.",
            "",
        ]
    )


def draw_example(files: list[Results]) -> Figure:
    """Return figure 3.

    Args:
        files: Of our probes and of other methods.
    """
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True, squeeze=False).flat
    positions = np.arange(len(_DIGITS))
    for panel, (name, title) in zip(axes, _PANELS.items(), strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_xticks(positions, list(_DIGITS))
        panel.set_ylim(0, 1.05)
        runs = [
            unit["example"][name]
            for file in files
            for unit in file.units.values()
            if name in unit.get("example", {})
        ]
        if not runs:
            continue
        mean = np.mean(runs, axis=0)
        spread = [mean - np.min(runs, axis=0), np.max(runs, axis=0) - mean]
        panel.bar(positions, mean, yerr=spread, color=_COLOURS[0], capsize=3)
        if name in _PAPER_BARS:
            panel.plot(positions, _PAPER_BARS[name], "x", color=_COLOURS[1])
    return figure


def draw_states(results: Results) -> Figure:
    """Return figure 11."""
    units = list(results.units.values())
    figure = Figure(figsize=(2.6 * len(units), 3.2), layout="constrained")
    axes = figure.subplots(1, len(units), squeeze=False)[0]
    for panel, (name, unit) in zip(axes, results.units.items(), strict=True):
        for (role, label), colour in zip(_ROLES.items(), _COLOURS, strict=True):
            states = np.array(unit["states"][role])
            panel.plot(*states.T, ".", color=colour, label=label, markersize=4)
        panel.set_title(name, fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _explained_by(results: Results) -> Sequence[str]:
    return list(next(iter(results.units.values()))["divergences"])


def _refuse_other_models(results: Results, other: Results) -> None:
    for name in ("num_items", "epochs"):
        if results.settings.get(name) != other.settings.get(name):
            raise DataError(
                f"{other.experiment!r} explained models of other settings than"
                f" {results.experiment!r} ({name}: {other.settings.get(name)}, not"
                f" {results.settings.get(name)}); run it again as a trial or with the"
                " same settings"
            )


def _row(results: Results, name: str, *, num_models: int) -> list[str]:
    paper = _PAPER[name]
    found_on = len(results.units)
    is_whole = found_on == num_models
    cells = [_NAMES[name] if is_whole else f"{_NAMES[name]} ({found_on} models)"]
    for index, measure in enumerate(("kl", "js")):
        found = interval_over_units(results, f"divergences.{name}.{measure}")
        target = _TARGETS.get(name, (None, None))[index]
        cells += [
            mean_cell(
                found, digits=4 if name.startswith("diffmask") else 2, smallest=0
            ),
            paper[index],
            target_cell(target, digits=3 if name.startswith("diffmask") else 2),
            verdict_cell(found, target),
        ]
    return cells


def _describe(results: Results) -> str:
    return "; ".join(
        f"{_label(name)}KL {_mean(results, name, 'kl')},"
        f" JS {_mean(results, name, 'js')}"
        for name in _explained_by(results)
    )


def _label(name: str) -> str:
    return "" if name == "diffmask" else f"{_NAMES[name]}: "


def _mean(results: Results, name: str, measure: str) -> str:
    found = interval_over_units(results, f"divergences.{name}.{measure}")
    return "∞" if found is None else f"{found.mean:.4f}"
