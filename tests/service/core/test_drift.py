import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from diffmask_service.core.drift import (
    BIN_EDGES,
    bin_index,
    critical_gap,
    gate_figures,
    largest_gap,
)

EDGES = np.array(BIN_EDGES)


def counts(figures: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.bincount(bin_index(figures, EDGES), minlength=len(EDGES) + 1)


def test_figures_are_kept_share_and_mean_by_state() -> None:
    gates = np.array([[1.0, 0.5, 0.25, 0.25], [0.0, 0.0, 0.0, 0.0]], np.float32)
    figures = gate_figures(gates, threshold=0.5)
    assert figures.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_a_threshold_is_compared_as_the_graph_computes() -> None:
    gates = np.full((1, 3), 0.1, np.float32)
    assert gate_figures(gates, threshold=0.1)[0].tolist() == [1.0]


def test_a_bin_holds_its_upper_end() -> None:
    values = np.array([0.0, 1e-9, 0.01, 0.0101, 0.99, 0.991, 1.0])
    last = len(EDGES)
    assert bin_index(values, EDGES).tolist() == [0, 1, 1, 2, last - 1, last, last]


def test_gap_of_binned_samples_is_that_of_scipy() -> None:
    generator = np.random.default_rng(1)
    # Values on the upper ends of bins lose nothing by being binned.
    values = np.append(EDGES, 1.0)
    live, reference = generator.choice(values, 300), generator.choice(values[:12], 200)
    gap = largest_gap(counts(live), counts(reference))
    assert gap == pytest.approx(ks_2samp(live, reference).statistic)


def test_gaps_keep_the_leading_axes() -> None:
    live = np.array([[[1, 0], [0, 1]], [[1, 1], [2, 0]]])
    reference = np.array([[[1, 0], [1, 0]], [[0, 1], [1, 1]]])
    assert largest_gap(live, reference).tolist() == [[0.0, 1.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("num_live", "num_reference"), [(128, 100), (128, 420), (512, 420), (512, 5000)]
)
@pytest.mark.parametrize("false_alarm", [1e-2, 1e-4, 1e-8])
def test_the_critical_gap_is_as_rare_as_it_says(
    num_live: int, num_reference: int, false_alarm: float
) -> None:
    critical = critical_gap(num_live, num_reference, false_alarm=false_alarm)
    live, reference = _pair_with_gap(critical, num_live, num_reference)
    exact = ks_2samp(live, reference, method="exact")
    assert critical <= exact.statistic <= critical + 2 / num_live
    assert exact.pvalue <= false_alarm


def _pair_with_gap(
    gap: float, num_live: int, num_reference: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # The share `gap` of the live texts, and nothing else, lies under everything.
    num_under = int(np.ceil(gap * num_live))
    rest = np.linspace(0.001, 1.0, num_live - num_under)
    live = np.concatenate([np.linspace(-2, -1, num_under), rest])
    return live, np.linspace(0.0005, 0.9995, num_reference)


def test_too_few_texts_can_never_alarm() -> None:
    assert critical_gap(128, 3, false_alarm=1e-9) > 1
