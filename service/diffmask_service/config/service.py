"""All settings of the server, and what its parts need to know of them."""

from dataclasses import dataclass

from diffmask_service.config.limits import LimitsConfig
from diffmask_service.config.scheduling import SchedulingConfig
from diffmask_service.config.security import SecurityConfig
from diffmask_service.config.serving import ServingConfig
from diffmask_service.config.telemetry import TelemetryConfig
from diffmask_service.engine.limits import EngineLimits, count_cores
from diffmask_service.transport.grpc.server import GrpcSettings


# The groups are bases, so that settings stay one flat list of names; the last base's
# come first. They have no slots: a class can take them from one base only.
@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig(
    TelemetryConfig, SchedulingConfig, LimitsConfig, SecurityConfig, ServingConfig
):
    """Everything that can be set, each with its meaning and trade-off in the source."""

    @property
    def engine_limits(self) -> EngineLimits:
        """What the engine needs to know of it."""
        return EngineLimits(
            max_texts=self.max_texts,
            max_text_bytes=self.max_text_bytes,
            queue_tokens=self.queue_tokens,
            default_deadline_seconds=self.default_deadline_seconds,
            max_deadline_seconds=self.max_deadline_seconds,
            inline_tokens=self.inline_tokens,
            late_factor=self.late_factor,
            min_retry_seconds=self.min_retry_seconds,
            max_retry_seconds=self.max_retry_seconds,
            priority_levels=self.priority_levels,
            default_priority=self.default_priority,
            priority_step_seconds=self.priority_step_seconds,
            device=self.device,
            workers=self.workers or count_cores(),
            worker_niceness=self.worker_niceness,
            max_batch_tokens=self.max_batch_tokens,
        )

    @property
    def grpc_settings(self) -> GrpcSettings:
        """What the gRPC listener needs to know of it."""
        return GrpcSettings(
            host=self.host,
            port=self.grpc_port,
            max_message_bytes=self.max_message_bytes,
            has_reflection=self.reflection,
            max_metadata_bytes=self.max_metadata_bytes,
            max_concurrent_calls=self.max_concurrent_calls,
            max_connection_age_seconds=self.max_connection_age_seconds,
            max_connection_age_grace_seconds=self.max_connection_age_grace_seconds,
            stream_window=self.stream_window_requests,
            security=self.grpc_security,
        )

    def contradictions(self) -> list[str]:
        """Return what is wrong with the settings taken together."""
        return [
            *self.misplaced(),
            *self.out_of_order(),
            *self.unguarded(host=self.host, has_console=self.console),
        ]
