"""What the section on sentiment asks of classifiers of five classes and of two."""

from typing import Any

import pytest

from diffmask_training.experiments.report.sentiment import (
    draw_groups,
    sentiment_section,
)
from diffmask_training.experiments.results import Results


def _unit(kind: str, *, f1_masked: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "num_sentences": 872,
        "by_part_of_speech": None,
        "first_token_share": 0.985,
        "faithfulness": {
            "f1_before": 0.5,
            "f1_masked": f1_masked,
            "batch_f1_before": 0.4,
            "batch_f1_masked": 0.41,
            "masked_share": 0.5,
            "agreement": 0.85,
        },
    }


def _section(num_labels: int) -> str:
    units: dict[str, Any] = {}
    for kind in ("input", "hidden"):
        units[f"{kind}-0"] = _unit(kind, f1_masked=0.492)
        units[f"{kind}-1"] = _unit(kind, f1_masked=0.496)
        units[f"{kind}-stability"] = {"seed_spread": 0.04, "num_runs": 2}
    labels = [str(index) for index in range(num_labels)]
    settings = {"labels": labels, "states": ["word_embeddings", "embeddings"]}
    results = Results(experiment="sentiment-x", settings=settings, units=units)
    return sentiment_section(results, name="x")


# Changes of -0.8 and -0.4 points: their mean is -0.6, and Student's interval of two
# runs reaches 12.706 times 0.2 points to either side.
_CHANGE = (
    "macro F1, masked less unmasked, points | -0.6 [-3.1, 1.9] |  | ≥ -1.0 | met |"
)


@pytest.mark.parametrize(
    ("num_labels", "rows"),
    [
        (
            5,
            [
                "| input gates | share masked | 50.0 [50.0, 50.0] | 46.3 | ≥ 46.3"
                " | met |",
                "| hidden gates | share masked | 50.0 [50.0, 50.0] | 67.6 | ≥ 67.6"
                " | **missed** |",
                "| input gates | predictions kept | 85.0 [85.0, 85.0] |  | ≥ 80.0"
                " | met |",
            ],
        ),
        (
            2,
            [
                "| input gates | share masked | 50.0 [50.0, 50.0] |  | ≥ 60.0"
                " | **missed** |",
                "| hidden gates | share masked | 50.0 [50.0, 50.0] |  | ≥ 70.0"
                " | **missed** |",
                "| input gates | predictions kept | 85.0 [85.0, 85.0] |  | ≥ 94.0"
                " | **missed** |",
            ],
        ),
    ],
)
def test_each_classifier_is_held_to_its_own_targets(
    num_labels: int, rows: list[str]
) -> None:
    section = _section(num_labels)
    for row in rows:
        assert row in section
    for kind in ("input", "hidden"):
        assert f"| {kind} gates | {_CHANGE}" in section
    assert "98.5 [98.5, 98.5] | 99 | ≥ 99 | **missed** |" in section
    assert "over 2 seeds | 0.040 | 0.03 | ≤ 0.03 | **missed** |" in section


def test_figures_of_five_classes_are_not_laid_over_those_of_two() -> None:
    assert "crosses read off" in _section(5)
    assert "crosses read off" not in _section(2)
    assert "all its figures are of five classes" in _section(2)
    with_marks = {}
    for num_labels in (2, 5):
        group = {"0": {"mean": 0.5, "std": 0.1, "num_tokens": 2}}
        units = {
            kind: {"kind": kind, "by_sentiment": group} for kind in ("input", "hidden")
        }
        settings = {"labels": ["a"] * num_labels}
        results = Results(experiment="sentiment-x", settings=settings, units=units)
        panels = draw_groups(results, "by_sentiment").axes
        with_marks[num_labels] = [
            any(line.get_marker() == "x" for line in panel.lines) for panel in panels
        ]
    assert with_marks == {2: [False, False], 5: [False, True]}
