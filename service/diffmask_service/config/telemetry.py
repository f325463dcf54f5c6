"""Settings of what the server tells of itself."""

from dataclasses import dataclass

from diffmask_service.config.setting import setting
from diffmask_service.telemetry import TraceSettings

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, kw_only=True)
class TelemetryConfig:
    """Its API, its log, its metrics and its spans."""

    reflection: bool = setting(
        "Whether tools may ask the server for its API. Off tells strangers less.",
        default=True,
    )
    log_level: str = setting(
        "Lowest level of the log; INFO writes one line a request.",
        default="INFO",
        choices=_LEVELS,
    )
    log_format: str = setting(
        "How the log is written: lines for people, or one JSON object a line.",
        default="text",
        choices=("text", "json"),
    )
    metrics_by_state: bool = setting(
        "Whether each state of a model has metrics of its own. Off gives one sum over"
        " all states, and far fewer series.",
        default=True,
    )
    trace_endpoint: str = setting(
        "URL of an OpenTelemetry collector for spans, such as http://collector:4317;"
        " empty sends none. Needs the extra tracing.",
        default="",
        is_secret=True,
    )
    trace_protocol: str = setting(
        "How to speak to the collector; with http the URL holds the whole path, such as"
        " http://collector:4318/v1/traces.",
        default="grpc",
        choices=("grpc", "http"),
    )
    trace_ratio: float = setting(
        "Share of the calls to trace; a caller who brings a trace decides for itself."
        " Each traced call costs a few spans for every text.",
        default=1.0,
        at_least=0.0,
        at_most=1.0,
    )

    @property
    def trace_settings(self) -> TraceSettings | None:
        """Where spans go; None for nowhere."""
        if not self.trace_endpoint:
            return None
        return TraceSettings(
            endpoint=self.trace_endpoint,
            protocol="http" if self.trace_protocol == "http" else "grpc",
            sample_ratio=self.trace_ratio,
        )
