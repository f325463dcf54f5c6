"""Metrics of gRPC calls, the family that existing dashboards know."""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import Counter, Histogram

from diffmask_service.telemetry.ledger import Ledger
from diffmask_service.telemetry.series import SECONDS, Families

# Every status of gRPC, so that none makes a series when it first occurs.
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"),
    *("NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"),
    *("FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL"),
    *("UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
_LABELS = ("grpc_type", "grpc_service", "grpc_method")


class CalledMethod(NamedTuple):
    """A method, in the order of its labels.

    Attributes:
        kind: `unary`, `client_stream`, `server_stream` or `bidi_stream`.
        service: Full name of the gRPC service.
        name: Name of the method, one that the service has.
    """

    kind: str
    service: str
    name: str


class EndedCall(NamedTuple):
    """A call that ended.

    Attributes:
        method: What was called.
        code: Name of its status, such as `OK`.
        seconds: How long it took, seconds.
    """

    method: CalledMethod
    code: str
    seconds: float


class CallMetrics:
    """The series of all calls.

    Args:
        families: Makes them.

    Attributes:
        begun: Takes note of every call that begins.
        ended: Takes note of every call that ended.
    """

    def __init__(self, families: Families) -> None:
        self._started = families.get(
            Counter, "grpc_server_started_total", "Calls begun.", _LABELS
        )
        self._handled = families.get(
            Counter,
            "grpc_server_handled_total",
            "Calls ended, by status.",
            (*_LABELS, "grpc_code"),
        )
        self._seconds = families.get(
            Histogram,
            "grpc_server_handling_seconds",
            "Time from a call's begin to its end, seconds.",
            _LABELS,
            buckets=SECONDS,
        )
        self.begun = Ledger(self._count_begun)
        self.ended = Ledger(self._count_ended)
        families.gather_with(self.begun.settle)
        families.gather_with(self.ended.settle)

    def expect(self, method: CalledMethod) -> None:
        """Make the series of one method, at zero."""
        self._started.labels(*method)
        self._seconds.labels(*method)
        for code in _CODES:
            self._handled.labels(*method, code)

    def _count_begun(self, methods: Sequence[CalledMethod]) -> None:
        for method, number in Tally(methods).items():
            self._started.labels(*method).inc(number)

    def _count_ended(self, calls: Sequence[EndedCall]) -> None:
        endings = Tally((call.method, call.code) for call in calls)
        for (method, code), number in endings.items():
            self._handled.labels(*method, code).inc(number)
        for call in calls:
            self._seconds.labels(*call.method).observe(call.seconds)
