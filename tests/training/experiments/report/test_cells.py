"""Figures as text."""

from diffmask_training.experiments.report.cells import mean_cell, share_cell
from diffmask_training.experiments.results import Interval, interval


def test_shares_have_no_ends_beyond_all_and_nothing() -> None:
    # Student's interval of these reaches to 1.022 and to -0.022.
    assert share_cell(interval([0.98, 1.0, 1.0]), digits=1) == "99.3 [96.5, 100.0]"
    assert share_cell(interval([0.02, 0.0, 0.0]), digits=1) == "0.7 [0.0, 3.5]"


def test_ends_within_bounds_stay() -> None:
    found = Interval(mean=0.5, low=0.25, high=0.75, num_runs=3)
    assert share_cell(found, digits=0) == "50 [25, 75]"
    assert mean_cell(found, digits=2) == "0.50 [0.25, 0.75]"


def test_figures_without_bounds_keep_their_interval() -> None:
    found = Interval(mean=0.5, low=-0.25, high=1.25, num_runs=3)
    assert mean_cell(found, digits=2) == "0.50 [-0.25, 1.25]"
    assert mean_cell(found, digits=2, smallest=0) == "0.50 [0.00, 1.25]"
