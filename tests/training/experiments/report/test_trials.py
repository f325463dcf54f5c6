"""Trials of other settings stand on the page, whatever was tried."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import Results, write_results

_STATES = ["word_embeddings", "embeddings"]


def _alone() -> dict[str, Any]:
    gates = [[0.9, 0.1], [0.8, 0.2]]
    figures = {"kept_share": 0.5, "agreement": 1.0, "keep_probability": gates}
    correlations = {"correlation_of_seeds": 0.2, "correlation_with_amortised": 0.1}
    return {
        "tokens": ["a", "b"],
        "amortised": figures,
        "own": figures | correlations,
        "none": figures | correlations,
    }


def _methods() -> dict[str, Any]:
    figures = {
        "agreement": 0.9,
        "divergence": 0.1,
        "correlation": None,
        "attribution": [[0.9, 0.1], [0.8, 0.2]],
    }
    names = (
        "diffmask",
        "erasure",
        "integrated_gradients",
        "schulz",
        "guan",
        "random",
    )
    return {
        "tokens": ["a", "b"],
        "kept_share": 0.5,
        "methods": dict.fromkeys(names, figures),
    }


def _fit() -> dict[str, Any]:
    return {
        "accuracy": 0.8,
        "is_feasible": True,
        "is_collapsed": False,
        "middle_kept_share": 0.3,
        "kept_share": 0.4,
        "agreement": 0.9,
        "divergence": 0.1,
        "fit_seconds": 60.0,
    }


def _switch() -> dict[str, Any]:
    state = {
        "state": "embeddings",
        "kept_share": 0.4,
        "agreement": 0.9,
        "divergence": 0.1,
    }
    return {"switch": "as_is", "kind": "input", "seed": 0, "states": [state]}


_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "alone": {"states": _STATES, "seeds": 2, "steps": 150},
    "methods": {"states": _STATES, "num_steps": 150},
    "convergence": {"num_layers": 4},
    "switches": {"epochs": 3, "epoch_steps": 200},
}


@pytest.mark.parametrize(
    ("name", "unit", "changed", "listed"),
    [
        (
            "alone",
            _alone(),
            {"steps": 30},
            "- `steps` 30 (not 150) (1 runs, 2 above): (b) one text, own baseline:"
            " states kept, % 50.0;",
        ),
        (
            "methods",
            _methods(),
            {"num_steps": 30},
            "- `num_steps` 30 (not 150) (1 runs, 2 above): predictions kept, %:"
            " DiffMask 90.0, Erasure,",
        ),
        (
            "convergence",
            _fit(),
            {"num_layers": 2},
            "- `num_layers` 2 (not 4) (1 runs, 2 above): sound: 1 of 1 fits",
        ),
        (
            "switches",
            _switch(),
            {"epochs": 1},
            "- `epochs` 1 (not 3) (1 runs, 2 above): input probe, as it is, seed 0:"
            " tokens kept, % 40.0, predictions kept, % 90.0, divergence, nats 0.100",
        ),
    ],
)
def test_a_trial_is_listed_beside_what_is_reported(
    tmp_path: Path,
    name: str,
    unit: dict[str, Any],
    changed: dict[str, Any],
    listed: str,
) -> None:
    settings = _SETTINGS[name]
    units = {"first": unit, "second": unit}
    write_results(Results(experiment=name, settings=settings, units=units), tmp_path)
    trial = Results(
        experiment=f"{name}.short", settings={**settings, **changed}, units={"a": unit}
    )
    write_results(trial, tmp_path)
    write_report(ReportSettings(to=tmp_path))
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "Also tried, with everything else the same:" in report
    assert listed in report


def test_what_the_paper_only_describes_has_targets_of_ours(tmp_path: Path) -> None:
    results = Results(
        experiment="alone", settings=_SETTINGS["alone"], units={"text-0": _alone()}
    )
    write_results(results, tmp_path)
    write_report(ReportSettings(to=tmp_path))
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| gates | measure | found | target, ours |  |" in report
    assert "states kept, % | 50.0 | ≤ 5.0 | **missed** |" in report


def test_a_correlation_of_constants_is_undefined(tmp_path: Path) -> None:
    results = Results(
        experiment="methods",
        settings=_SETTINGS["methods"],
        units={"text-0": _methods()},
    )
    write_results(results, tmp_path)
    write_report(ReportSettings(to=tmp_path))
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| DiffMask | 90.0 | 0.100 | undefined |" in report
