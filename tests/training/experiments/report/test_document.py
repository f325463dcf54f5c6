"""The report from files of made-up figures."""

from pathlib import Path
from typing import Any

import pytest

from diffmask_training.errors import DataError
from diffmask_training.experiments.report.document import ReportSettings, write_report
from diffmask_training.experiments.results import Results, write_results


def _toy(kl: float) -> dict[str, Any]:
    bars = [0.2, 0.2, 0.1, 0.3, 0.1, 0.1]
    return {
        "accuracy": 0.995,
        "divergences": {"diffmask": {"kl": kl, "js": 0.002}},
        "probe": {
            "agreement": 0.99,
            "kept_share": 0.5,
            "keep_probability_of_queried": 0.98,
            "keep_probability_of_others": 0.01,
        },
        "example": {"diffmask_feed_forward": bars},
        "states": {role: [[0.0, 1.0]] for role in ("first", "second", "neither")},
    }


def _others() -> dict[str, Any]:
    return {
        "divergences": {
            "exact_erasure": {"kl": None, "js": 0.26},
            "guan": {"kl": 0.8, "js": 0.22},
        },
        "example": {"guan": [1 / 6] * 6},
    }


def _subsets(f1: float) -> dict[str, Any]:
    scores = {
        "precision": 0.9,
        "recall": 0.9,
        "f1": f1,
        "optimality": 0.5,
        "kept_share": 0.2,
    }
    return {
        "accuracy": 0.4,
        "num_sentences": 1101,
        "search": {
            "num_texts": 800,
            "num_unresolved": 3,
            "num_by_size": {"0": 200, "2": 597},
            "mean_share": 0.1,
            "share_unique": 0.4,
        },
        "methods": dict.fromkeys(
            (
                f"{name}{which}"
                for name in ("diffmask", "reinforce", "reinforce_published")
                for which in ("", "_last")
            ),
            scores,
        ),
    }


def _write(directory: Path, name: str, units: list[Any], **settings: Any) -> None:
    named = {f"seed-{seed}": unit for seed, unit in enumerate(units)}
    results = Results(experiment=name, settings=settings, units=named)
    write_results(results, directory)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of figures of all sections but one, and their report."""
    directory = tmp_path_factory.mktemp("results")
    _write(directory, "toy", [_toy(0.003), _toy(0.005)], num_items=10_000)
    _write(directory, "toy-others", [_others(), _others()], num_items=10_000)
    _write(directory, "toy-others.short", [_others()], num_items=10_000, num_steps=5)
    settings = {
        "requirement": "prediction",
        "width": 64,
        "max_words": 25,
        "max_texts": 0,
        "max_subsets": 500_000,
    }
    _write(
        directory,
        "subsets-prediction",
        [_subsets(0.80), _subsets(0.84)],
        **settings,
        masks={"num_steps": 300, "num_restarts": 2, "check_every": 5},
    )
    _write(
        directory,
        "subsets-prediction.short",
        [_subsets(0.7)],
        **settings,
        masks={"num_steps": 30, "num_restarts": 2, "check_every": 5},
    )
    write_report(ReportSettings(to=directory))
    return directory


@pytest.fixture
def report(directory: Path) -> str:
    """The page."""
    return (directory / "RESULTS.md").read_text(encoding="utf-8")


def test_met_and_missed_targets_are_told_apart(report: str) -> None:
    # Two runs of 0.003 and 0.005: t with one degree of freedom is 12.706. The lower end
    # would be -0.0087, where no divergence lies.
    kl = "0.0040 [0.0000, 0.0167] | 0.01 | ≤ 0.010 | met"
    assert f"| DiffMask, ours | {kl} |" in report
    assert "| 82.00 [56.59, 100.00] | 50.00 [50.00, 50.00] |" in report
    assert "| target for DiffMask, ours |  |  | ≥ 85 | ≥ 45 | ≤ 31 |" in report
    assert "|  |  |  | **missed** | met | met |" in report


def test_an_infinite_divergence_is_shown_as_such(report: str) -> None:
    # The paper prints a dash.
    assert "| Exact erasure | ∞ | - |" in report


def test_what_was_tried_is_listed_with_what_it_changed(report: str) -> None:
    assert "- `masks.num_steps` 30 (not 300) (1 runs, 2 above): F1 70.00" in report


def test_texts_that_need_next_to_nothing_are_counted(report: str) -> None:
    assert (
        "No word at all is needed in 25.0 [25.0, 25.0] % of the texts, one word in"
        " 0.0 [0.0, 0.0] %:"
    ) in report


def test_trials_of_other_methods_are_listed_too(report: str) -> None:
    assert "Also tried of `toy-others`, with everything else the same:" in report
    assert (
        "- `num_steps` 5 (not None) (1 runs, 2 above): Exact erasure: KL ∞, JS 0.2600;"
        " Guan et al. 2019: KL 0.8000, JS 0.2200"
    ) in report


def test_methods_with_fewer_models_say_so(tmp_path: Path) -> None:
    _write(tmp_path, "toy", [_toy(0.003), _toy(0.005)], num_items=10_000)
    _write(tmp_path, "toy-others", [_others()], num_items=10_000)
    write_report(ReportSettings(to=tmp_path))
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| Guan et al. 2019 (1 models) | 0.80 |" in report
    assert "| DiffMask, ours | 0.0040" in report


def test_methods_on_other_models_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "toy", [_toy(0.003)], num_items=10_000)
    _write(tmp_path, "toy-others", [_others()], num_items=500)
    with pytest.raises(DataError, match=r"num_items: 500, not 10000"):
        write_report(ReportSettings(to=tmp_path))


def test_pictures_are_the_same_every_time(directory: Path, report: str) -> None:
    names = ("figure-3.svg", "figure-11.svg")
    before = [(directory / name).read_bytes() for name in names]
    write_report(ReportSettings(to=directory))
    assert [(directory / name).read_bytes() for name in names] == before
    assert (directory / "RESULTS.md").read_text(encoding="utf-8") == report


def test_a_single_run_is_shown_without_an_interval(tmp_path: Path) -> None:
    _write(tmp_path, "toy", [_toy(0.003)], num_items=10_000)
    write_report(ReportSettings(to=tmp_path))
    report = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "| DiffMask, ours | 0.0030 | 0.01 | ≤ 0.010 | met |" in report


def test_an_unfinished_experiment_is_named(tmp_path: Path) -> None:
    settings = {"labels": ["a", "b"], "states": ["word_embeddings"]}
    _write(tmp_path, "sentiment-x", [], **settings)
    with pytest.raises(DataError, match="'sentiment-x' is not finished: input-0"):
        write_report(ReportSettings(to=tmp_path))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run an experiment first"):
        write_report(ReportSettings(to=tmp_path))
