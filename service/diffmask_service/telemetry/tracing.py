"""Spans of calls and their stages: the port, and what stands there when none are sent.

A span says what was done, when and to how much, never to what: no text, token or gate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Where spans go.

    Attributes:
        endpoint: URL of an OpenTelemetry collector.
        protocol: How it is spoken to.
        sample_ratio: Share of the calls that are traced, in [0, 1]; a caller who brings
            a trace has decided already.
    """

    endpoint: str
    protocol: Literal["grpc", "http"]
    sample_ratio: float


class Tracer(Protocol):
    """Where spans go."""

    def begin_call(
        self,
        service: str,
        method: str,
        *,
        metadata: Iterable[tuple[str, str | bytes]],
        request_id: str,
    ) -> None:
        """Open the span of the call that the present task handles."""

    def end_call(self, *, code: str) -> None:
        """Close it with the name of the call's status."""

    def record(
        self, stage: str, *, began: float, ended: float, **counts: int | str
    ) -> None:
        """Add a stage to it; times are seconds of `time.monotonic`."""

    def close(self) -> None:
        """Send what is left."""


class NoTracer:
    """Sends nothing."""

    def begin_call(
        self,
        service: str,
        method: str,
        *,
        metadata: Iterable[tuple[str, str | bytes]],
        request_id: str,
    ) -> None:
        """Do nothing."""

    def end_call(self, *, code: str) -> None:
        """Do nothing."""

    def record(
        self, stage: str, *, began: float, ended: float, **counts: int | str
    ) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
