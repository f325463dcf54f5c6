import numpy as np
import pytest

from diffmask_service.core.gate_sums import sum_gates

FIRST = np.array([[1.0, 0.5, 0.01], [0.25, 0.5, 0.99]], np.float32)
SECOND = np.array([[0.0, 0.5], [0.75, 0.125]], np.float32)


def test_each_text_is_summed_by_itself_in_every_state() -> None:
    sums = sum_gates([FIRST, SECOND], threshold=0.5)
    assert sums.num_tokens.tolist() == [3, 2]
    assert sums.openness == pytest.approx(np.array([[1.51, 0.5], [1.74, 0.875]]))
    assert sums.kept.tolist() == [[2, 1], [2, 1]]
    assert sums.saturated.tolist() == [[2, 1], [1, 0]]
    # The means over both states are 0.625, 0.5 and 0.5; 0.375 and 0.3125.
    assert sums.kept_by_all.tolist() == [3, 0]


def test_figures_are_shares_of_each_texts_own_tokens() -> None:
    figures = sum_gates([FIRST, SECOND], threshold=0.5).figures
    assert figures[0] == pytest.approx(np.array([[2 / 3, 1 / 2], [2 / 3, 1 / 2]]))
    means = np.stack([FIRST.mean(axis=1), SECOND.mean(axis=1)], axis=1)
    assert figures[1] == pytest.approx(means)


def test_texts_together_are_what_each_is_alone() -> None:
    generator = np.random.default_rng(3)
    texts = [generator.random((4, n), np.float32) for n in (1, 7, 30, 2)]
    together = sum_gates(texts, threshold=0.3)
    for place, text in enumerate(texts):
        alone = sum_gates([text], threshold=0.3)
        for name in ("num_tokens", "openness", "kept", "saturated", "kept_by_all"):
            part = getattr(together, name)[..., place]
            assert np.array_equal(part, getattr(alone, name)[..., 0])
