"""From stored figures to the page, with no figure typed on the way."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report import SECTIONS, write_report
from benchmarks.results import store, table

_EFFECTS = {
    "word": "so",
    "insertion_flips": 0.75,
    "insertion_rise": 0.5,
    "sufficiency": 0.875,
    "strength": 0.375,
}
_FIGURES: dict[str, dict[str, Any]] = {
    "explain_overhead": {
        "sizes": [
            {
                "batch": 1,
                "tokens": 16,
                "rounds": 5,
                "predict_seconds": 0.01,
                "explain_seconds": 0.01,
                "explain": explain,
                "explain_cpu": explain,
                "no_gates": 1.04,
                "no_gates_cpu": 1.04,
            }
            for explain in (1.15, 1.05, 1.02)
        ]
    },
    "server_cpu": {
        "tokens": 32,
        "graph": "w8",
        "sizes": [
            {
                "texts": 32,
                "bare_seconds": 0.25,
                "server_seconds": 0.375,
                "ratio": 1.5,
            }
        ],
    },
    "load": {"capacity_per_second": 12.5, "runs": []},
    "chaos": {"rolled": {"failed": 0, "ended badly": 0}},
    "fuzz": {
        "statuses": {"OK": 4321},
        "frames": {},
        "streams": 7,
        "canaries": 5,
        "failures": [],
    },
    "memory": {
        "requests": 10,
        "after_warm_up_mib": 100.0,
        "last_mib": 101.0,
        "last_over_warm_up": 1.01,
        "highest_over_warm_up": 1.02,
        "readings": [[0, 100.0], [10, 101.0]],
    },
    "others": {
        "ours": {
            "texts_per_second": 10.0,
            "ours_over_it": 1.0,
            "cpu_seconds_per_text": 0.05,
            "its_cpu_over_ours": 1.0,
        }
    },
    "swaps": {
        "swaps": {"done": 2, "answered": 90, "versions": 3, "failed": {}},
        "restarts": {"done": 1, "answered": 9, "versions": 1, "failed": {"UNKNOWN": 4}},
    },
    "explainers": {
        "engine_per_second": 100.0,
        "captum_per_second": 0.5,
        "ratio": 201.0,
        "texts": 8,
        "graph": "w8",
        "steps": 50,
    },
    "precisions": {
        "reference": "fp32",
        "costs": [
            {
                "tokens": 16,
                "graph": "int8",
                "rounds": 51,
                "texts_per_cpu_second": 300.0,
                "times_by_clock": 1.9,
                "times_by_cpu": 2.0,
            }
        ],
    },
    "norms": {
        "lengths": [
            {"tokens": 16, "rounds": 101, "joined_over_parted": 1.06, "cpu": 1.05},
            {"tokens": 16, "rounds": 101, "joined_over_parted": 1.04, "cpu": 1.05},
        ]
    },
    "start": {
        "wall_seconds": 2.0,
        "cpu_seconds": 1.5,
        "starts": [{"wall_seconds": 2.0, "cpu_seconds": 1.5}],
    },
    "drift": {"weeks": 4, "shifts missed": 0, "weeks that the rule misjudges": 0},
    "isolation": {"w8": {"compared": 146, "different": 0, "joined": 9}},
    "shortcut": {
        "trials": [
            {
                "word": "so",
                "class": 1,
                "rank": rank,
                "tested": 9,
                "planted": effects,
                "next": _EFFECTS | {"word": "fine"},
                "accuracy": 0.875,
            }
            for rank, effects in ((1, _EFFECTS), (None, None))
        ]
    },
    "train_step": {
        "torch": "2.13.0",
        "steps": {
            "input": {
                "ours_cpu_seconds": 0.125,
                "published_cpu_seconds": 0.5,
                "ratio": 0.25,
                "cpu_ratio": 0.25,
            }
        },
    },
    "audit": {"audit over predict (at most 2.2)": 2.125},
    "audit_memory": {
        "last_over_first": 1.0625,
        "audits": [
            {"rows": 10_000, "mib": 300.0, "seconds": 20.0, "cpu_seconds": 19.0},
            {"rows": 10**6, "mib": 318.75, "seconds": 2000.0, "cpu_seconds": 1900.0},
        ],
    },
    "audit_kills": {
        "seconds": 9.5,
        "parts": 15,
        "files": 20,
        "kills": [
            {"parts": 3, "was_running": True},
            {"parts": 7, "was_running": True},
            {"parts": 15, "was_running": False},
        ],
        "is_same": True,
    },
    "report_page": {"texts": 10_000, "open_seconds": 0.25},
    "console": {"tokens": 30, "median, seconds": 0.068},
}


def test_every_script_has_its_section(tmp_path: Path) -> None:
    assert _FIGURES.keys() == SECTIONS.keys()
    arguments = argparse.Namespace(
        to=tmp_path, bundle=tmp_path / "sst2", seed=3, plot=None
    )
    for name, figures in _FIGURES.items():
        store(name, figures, arguments=arguments)
    (tmp_path / "load.svg").touch()
    page = write_report(tmp_path)
    for title, _ in SECTIONS.values():
        assert f"## {title}" in page
    assert "at most 1.050 (target 1.10: met)" in page
    assert "at most 1.040 (target 1.03: **missed**)" in page
    assert "1.050 (1.020 to 1.150)" in page
    assert "| 32 | 0.25 | 0.375 | 1.5 |" in page
    assert "12.5 calls a second" in page
    assert "4,321 messages" in page
    assert "1.010 times" in page
    assert "| restarts | 1 | 9 | 1 | 4 | 4 UNKNOWN |" in page
    assert "neighbouring runs is 201." in page
    assert "| 16 | int8 | 51 | 300 | 1.9 | 2 |" in page
    assert "| median | 2 | 1.5 |" in page
    assert "first in 1 of 2 trials" in page
    assert "| so | 1 | 1 | 9 | 0.75 | 0.5 | 0.875 | 0.375 | fine | 0.75 |" in page
    assert "1.062 times the memory of the first (target 1.10: met)" in page
    assert "Killed 2 times while it ran, of 3 tries, with 3, 7 of 15 parts" in page
    assert "| open seconds | 0.25 |" in page
    assert "`python -m benchmarks.load --bundle sst2 --seed 3`" in page
    assert f"({tmp_path.name}/load.svg)" in page
    # No path of the machine.
    assert str(tmp_path) not in page


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    assert "##" not in write_report(tmp_path)


def test_nothing_is_stored_unless_asked(tmp_path: Path) -> None:
    store("load", {}, arguments=argparse.Namespace(to=None))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("cell", "spelt"),
    [
        (0.00123, "0.0012"),
        (0.5, "0.5"),
        (12.345, "12.3"),
        (1234.5, "1,234"),
        (10**6, "1,000,000"),
        ("OK", "OK"),
    ],
)
def test_figures_have_three_digits(cell: object, spelt: str) -> None:
    assert table(["a"], [[cell]])[-1] == f"| {spelt} |"
