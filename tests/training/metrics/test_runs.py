import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diffmask_training.metrics.runs import run_bounds


def test_runs_worked_by_hand() -> None:
    starts, ends = run_bounds(np.array([True, True, False, True, False, False, True]))
    assert starts.tolist() == [0, 3, 6]
    assert ends.tolist() == [2, 4, 7]


def test_masks_without_runs_and_of_one_run() -> None:
    assert run_bounds(np.zeros(3, dtype=np.bool_)).shape == (2, 0)
    assert run_bounds(np.zeros(0, dtype=np.bool_)).shape == (2, 0)
    assert run_bounds(np.ones(3, dtype=np.bool_)).tolist() == [[0], [3]]


@given(st.lists(st.booleans(), max_size=20))
def test_runs_make_up_the_mask(kept: list[bool]) -> None:
    rebuilt = np.zeros(len(kept), dtype=np.bool_)
    for start, end in run_bounds(np.array(kept, dtype=np.bool_)).T:
        assert start < end
        assert not rebuilt[max(start - 1, 0) : end].any()
        rebuilt[start:end] = True
    assert rebuilt.tolist() == kept
