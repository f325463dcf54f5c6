"""What each choice in the making of a probe changes."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from diffmask_training.experiments.report.cells import mean_cell, table, trials
from diffmask_training.experiments.results import Results, interval
from diffmask_training.experiments.switches.variants import AS_IS, VARIANTS

_MEASURES: Mapping[str, tuple[str, int, int]] = {
    # Header, digits, scale.
    "kept_share": ("tokens kept, %", 1, 100),
    "agreement": ("predictions kept, %", 1, 100),
    "divergence": ("divergence, nats", 3, 1),
}


def switches_section(results: Results, *, tried: list[Results]) -> str:
    """Return the section in Markdown.

    Args:
        results: Of fits with one choice turned, and of those as they are.
        tried: The same under other settings.
    """
    settings = results.settings
    lines = [
        "## One choice at a time",
        "",
        f"Short fits ({settings['epochs']} epochs of {settings['epoch_steps']} steps)"
        " on one classifier, alike but for one choice; hard masks on the dev set, means"
        " over states. In brackets what the choice changes, the mean over seeds of the"
        " difference to the fit as it is by the same seed [95 % interval]. A fit that"
        " masks at one state alone is held against that state alone.",
        "",
    ]
    for kind, of_kind in _by_kind(results).items():
        lines += [f"### {kind.capitalize()} probe", "", _table(of_kind), ""]
    return "\n".join([*lines, trials(results, tried, _describe)])


def _by_kind(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    units = list(results.units.values())
    kinds = dict.fromkeys(unit["kind"] for unit in units)
    return {kind: [unit for unit in units if unit["kind"] == kind] for kind in kinds}


def _describe(results: Results) -> str:
    return "; ".join(
        f"{kind} probe, {VARIANTS[unit['switch']].described}, seed {unit['seed']}:"
        f" {_plain_figures(unit)}"
        for kind, of_kind in _by_kind(results).items()
        for unit in of_kind
    )


def _plain_figures(unit: Mapping[str, Any]) -> str:
    names = {state["state"] for state in unit["states"]}
    return ", ".join(
        f"{described} {scale * _mean(unit, measure, names):.{digits}f}"
        for measure, (described, digits, scale) in _MEASURES.items()
    )


def _table(units: Sequence[Mapping[str, Any]]) -> str:
    as_is = {unit["seed"]: unit for unit in units if unit["switch"] == AS_IS}
    rows = []
    for name, variant in VARIANTS.items():
        pairs = [
            (unit, as_is[unit["seed"]])
            for unit in units
            if unit["switch"] == name and unit["seed"] in as_is
        ]
        if pairs:
            cells = [_cell(pairs, measure) for measure in _MEASURES]
            rows.append([variant.described, str(len(pairs)), *cells])
    header = ["choice", "fits", *(described for described, _, _ in _MEASURES.values())]
    return table(header, rows)


def _cell(
    pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], measure: str
) -> str:
    _, digits, scale = _MEASURES[measure]
    found, differences = [], []
    for unit, as_is in pairs:
        names = {state["state"] for state in unit["states"]}
        value = _mean(unit, measure, names)
        found.append(value)
        differences.append(value - _mean(as_is, measure, names))
    text = f"{scale * fmean(found):.{digits}f}"
    if pairs[0][0]["switch"] == AS_IS:
        return text
    change = interval(differences)
    sign = "+" if change.mean >= 0 else ""
    return f"{text} ({sign}{mean_cell(change, digits=digits, scale=scale)})"


def _mean(unit: Mapping[str, Any], measure: str, names: set[str]) -> float:
    return fmean(s[measure] for s in unit["states"] if s["state"] in names)
