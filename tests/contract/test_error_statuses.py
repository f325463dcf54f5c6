"""Every error that can leave the service has a gRPC status."""

from collections.abc import Iterator

import grpc
import pytest

from diffmask_service.errors import DiffMaskError, RequestError
from diffmask_service.transport.grpc.statuses import STATUS_BY_ERROR


def every_class(root: type[DiffMaskError]) -> Iterator[type[DiffMaskError]]:
    yield root
    for child in root.__subclasses__():
        yield from every_class(child)


@pytest.mark.parametrize("kind", list(every_class(DiffMaskError)))
def test_every_class_has_a_row(kind: type[DiffMaskError]) -> None:
    assert kind in STATUS_BY_ERROR


@pytest.mark.parametrize("kind", list(every_class(RequestError)))
def test_what_a_caller_can_fix_is_never_our_fault(kind: type[RequestError]) -> None:
    assert STATUS_BY_ERROR[kind] is not grpc.StatusCode.INTERNAL
