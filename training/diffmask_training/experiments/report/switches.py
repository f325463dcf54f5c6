"""What each choice in the making of a probe changes."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from diffmask_training.experiments.report.cells import mean_cell, table
from diffmask_training.experiments.results import Results, interval
from diffmask_training.experiments.switches.variants import AS_IS, VARIANTS

_MEASURES: Mapping[str, tuple[str, int, int]] = {
    # Header, digits, scale.
    "kept_share": ("tokens kept, %", 1, 100),
    "agreement": ("predictions kept, %", 1, 100),
    "divergence": ("divergence, nats", 3, 1),
}


def switches_section(results: Results) -> str:
    """Return the section in Markdown."""
    units = list(results.units.values())
    kinds = list(dict.fromkeys(unit["kind"] for unit in units))
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
    for kind in kinds:
        of_kind = [unit for unit in units if unit["kind"] == kind]
        lines += [f"### {kind.capitalize()} probe", "", _table(of_kind), ""]
    return "\n".join(lines)


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
    change = f"{scale * fmean(differences):+.{digits}f}"
    if len(differences) > 1:
        change += mean_cell(
            interval(differences), digits=digits, scale=scale
        ).removeprefix(f"{scale * fmean(differences):.{digits}f}")
    return f"{text} ({change})"


def _mean(unit: Mapping[str, Any], measure: str, names: set[str]) -> float:
    return fmean(s[measure] for s in unit["states"] if s["state"] in names)
