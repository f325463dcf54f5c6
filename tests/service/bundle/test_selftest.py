import pytest

from diffmask_service.bundle.selftest import parse_selftest
from diffmask_service.errors import BundleError
from tests.support.tiny import tiny_selftest


def test_a_self_test_survives_the_round_trip() -> None:
    selftest = tiny_selftest()
    found = parse_selftest(selftest.to_json())
    assert found.cases[0].input_ids == selftest.cases[0].input_ids
    assert found.tolerance == selftest.tolerance


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{}", b'{"tolerance": "x"}'])
def test_a_malformed_self_test_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"selftest\.json"):
        parse_selftest(raw)


def test_a_self_test_without_cases_is_refused() -> None:
    with pytest.raises(BundleError, match="holds no cases"):
        parse_selftest(b'{"tolerance": 0.001, "cases": []}')
