"""A server that answers as the test says."""

from collections.abc import Iterator

import pytest

from tests.support.stub_server import Stub, serving


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as stub:
        yield stub
