from dataclasses import replace

import numpy as np
import pytest

from diffmask_service.bundle import MAX_HISTOGRAM_LABELS, count_texts

# `[texts, figures, layers]`
FIGURES = np.array([[[0.0, 1.0], [0.45, 0.3]], [[0.0, 0.5], [0.41, 0.3]]])


def test_texts_are_counted_by_label_state_and_bin() -> None:
    histograms = count_texts(FIGURES, [1, 1], num_labels=2)
    assert np.sum(histograms.kept_share[0]) == 0
    assert histograms.kept_share[1][0][0] == 2
    assert histograms.kept_share[1][1][-1] == 1
    assert sum(histograms.kept_share[1][1]) == 2
    place = histograms.bin_edges.index(0.5)
    assert histograms.kept_share[1][1][place] == 1
    assert histograms.mean_gate[1][0][place] == 2


def test_many_labels_are_counted_together() -> None:
    histograms = count_texts(FIGURES, [0, 8], num_labels=MAX_HISTOGRAM_LABELS + 1)
    assert len(histograms.kept_share) == 1
    assert histograms.kept_share[0][0][0] == 2


def test_every_state_counts_the_same_texts() -> None:
    histograms = count_texts(FIGURES, [1, 1], num_labels=2)
    first, second = histograms.mean_gate[1]
    fewer = ((0,) * len(first), second)
    with pytest.raises(ValueError, match="differ in their texts"):
        replace(histograms, mean_gate=(histograms.mean_gate[0], fewer))
