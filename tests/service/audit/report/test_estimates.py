import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy.stats import binomtest, t

from diffmask_service.audit.report.estimates import (
    Mean,
    MeanOfNumbers,
    share,
    student_quantile,
)


@pytest.mark.parametrize(("count", "num"), [(0, 4), (3, 10), (10, 10), (437, 872)])
def test_shares_have_the_intervals_of_scipy(count: int, num: int) -> None:
    found = share(count, num)
    expected = binomtest(count, num).proportion_ci(method="wilson")
    assert found is not None
    assert (found.value, found.num) == (count / num, num)
    assert found.low == pytest.approx(expected.low, abs=1e-12)
    assert found.high == pytest.approx(expected.high, abs=1e-12)


def test_a_share_of_nothing_is_none() -> None:
    assert share(0, 0) is None


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 10, 30, 1000, 10**6])
def test_quantiles_are_those_of_scipy(degrees: int) -> None:
    expected = float(t.ppf(0.975, degrees))
    assert student_quantile(degrees) == pytest.approx(expected, rel=0.01)
    if degrees > 9:
        assert student_quantile(degrees) == pytest.approx(expected, rel=1e-4)


def test_means_have_the_interval_of_student() -> None:
    values = np.random.default_rng(1).uniform(0.4, 0.6, size=(50, 3)) + 1000
    mean = Mean()
    for value in values:
        mean.add(value)
    found = mean.estimates()
    half = t.ppf(0.975, 49) * values.std(axis=0, ddof=1) / math.sqrt(50)
    np.testing.assert_allclose([e.value for e in found], values.mean(axis=0))
    np.testing.assert_allclose([e.high - e.value for e in found], half, rtol=1e-6)
    np.testing.assert_allclose([e.value - e.low for e in found], half, rtol=1e-6)
    assert [each.num for each in found] == [50] * 3


def test_numbers_have_the_mean_of_arrays() -> None:
    numbers, arrays = MeanOfNumbers(), Mean()
    for value in np.random.default_rng(2).uniform(size=30).tolist():
        numbers.add(value)
        arrays.add(value)
        found, expected = (each.estimate(low=0, high=1) for each in (numbers, arrays))
        assert found is not None
        assert expected is not None
        assert astuple(found) == pytest.approx(astuple(expected))
    assert MeanOfNumbers().estimate() is None


def test_intervals_end_where_values_do() -> None:
    mean = Mean()
    for value in (0.0, 0.0, 1.0):
        mean.add(value)
    found = mean.estimate(low=0, high=1)
    assert found is not None
    assert found.low == 0
    assert found.value == pytest.approx(1 / 3)


def test_one_value_says_nothing_of_the_spread() -> None:
    mean = Mean()
    mean.add(0.25)
    found = mean.estimate(low=0, high=1)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.25, 0, 1)


def test_no_values_have_no_mean() -> None:
    assert Mean().estimate() is None
    assert Mean().estimates() == ()
