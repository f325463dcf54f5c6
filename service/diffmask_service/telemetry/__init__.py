"""Metrics, drift, spans and the log; handed to whoever counts, never global.

Names are `diffmask_<noun>_<unit>[_total]` in base units, plus the `grpc_server_` family
that existing dashboards know. Every series exists at zero before the first request.
Gate openness is a pair of counters, a sum and a count, so that replicas add up.
docs/metrics.md lists them all.
"""

from diffmask_service.telemetry.logs import configure_logging
from diffmask_service.telemetry.model import ModelTelemetry
from diffmask_service.telemetry.open_telemetry import connect_tracer
from diffmask_service.telemetry.outcomes import OUTCOMES, outcome_of
from diffmask_service.telemetry.server import Telemetry
from diffmask_service.telemetry.tracebacks import discreet_traceback
from diffmask_service.telemetry.tracing import TraceSettings

__all__ = [
    "OUTCOMES",
    "ModelTelemetry",
    "Telemetry",
    "TraceSettings",
    "configure_logging",
    "connect_tracer",
    "discreet_traceback",
    "outcome_of",
]
