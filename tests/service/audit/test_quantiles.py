import numpy as np
import pytest

from diffmask_service.audit.quantiles import exact_quantiles


@pytest.mark.parametrize("num_values", [1, 2, 999])
def test_quantiles_are_those_of_the_sorted_values(num_values: int) -> None:
    values = np.random.default_rng(5).exponential(size=num_values).astype(np.float32)
    values[num_values // 2 :] *= np.float32(1e-6)
    shares = (0.01, 0.25, 0.5, 0.99, 1.0)
    found = exact_quantiles(lambda: np.array_split(values, 7), shares)
    expected = np.quantile(values, shares, method="inverted_cdf")
    np.testing.assert_array_equal(np.array(found, dtype=np.float32), expected)


def test_zeros_of_either_sign_are_zero() -> None:
    values = np.array([-0.0, 0.0, 1.0], dtype=np.float32)
    assert exact_quantiles(lambda: [values], (0.5, 1.0)) == (0.0, 1.0)


def test_nothing_has_no_quantiles() -> None:
    assert exact_quantiles(list, (0.5,)) == ()
