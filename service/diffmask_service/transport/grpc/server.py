"""Build the gRPC server: services, limits, ports."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.errors import StartError
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.access import Access
from diffmask_service.transport.grpc import inference_service
from diffmask_service.transport.grpc.authentication import Authentication
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.inference_service import add_inference_servicer
from diffmask_service.transport.grpc.inference_servicer import (
    InferenceServicer,
    ModelControl,
)
from diffmask_service.transport.grpc.interceptors import CallInterceptor, spell_kind
from diffmask_service.transport.grpc.reflection import reflect
from diffmask_service.transport.grpc.servicer import ExplainerServicer
from diffmask_service.transport.tls import TlsFiles, grpc_credentials
from diffmask_service.transport.tokens import TokenFile
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc

SERVICE = explain_pb2.DESCRIPTOR.services_by_name["Explainer"]
# Both answer out of the same engines.
SERVICES = (SERVICE, inference_service.SERVICE)
SERVICE_NAMES = frozenset(service.full_name for service in SERVICES)
_PATHS = frozenset(
    f"/{service.full_name}/{method.name}"
    for service in SERVICES
    for method in service.methods
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSecurity:
    """Who may call, and how nobody can listen in.

    Attributes:
        tls: Certificate; None for plain text.
        inference_tokens: File of the tokens for all methods but the admin's; None lets
            everybody in.
        admin_tokens: File of the tokens for methods that change what is served.
    """

    tls: TlsFiles | None = None
    inference_tokens: Path | None = None
    admin_tokens: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSettings:
    """What the listener needs to know.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.
        max_message_bytes: Largest request, bytes.
        has_reflection: Whether tools may ask for the API.
        max_metadata_bytes: Largest headers of a call, bytes.
        max_concurrent_calls: Most calls of a connection at a time.
        max_connection_age_seconds: When a connection is renewed, seconds; gRPC moves
            it by up to a tenth at random, so that clients do not come back together.
        max_connection_age_grace_seconds: Time for what is still in progress on a
            connection that is renewed, seconds.
        stream_window: Most requests of a stream in progress.
        security: Certificate and tokens.
    """

    host: str
    port: int
    max_message_bytes: int
    has_reflection: bool
    max_metadata_bytes: int = 8192
    max_concurrent_calls: int = 1024
    max_connection_age_seconds: float = 300.0
    max_connection_age_grace_seconds: float = 3600.0
    stream_window: int = 16
    security: GrpcSecurity = GrpcSecurity()


def build_server(
    repository: Repository,
    health: HealthServicer,
    *,
    telemetry: Telemetry,
    settings: GrpcSettings,
    stopping: asyncio.Event | None = None,
    control: ModelControl | None = None,
) -> grpc.aio.Server:
    """Return a server with all its services, not yet listening.

    Args:
        repository: What answers.
        health: What probes are told.
        telemetry: Where calls are counted.
        settings: Limits and switches.
        stopping: Set it when the server begins to stop: it ends the streams. None for
            one that nobody sets.
        control: Who loads and unloads models on request; None refuses to.

    Raises:
        StartError: A token file cannot be used.
    """
    stopping = asyncio.Event() if stopping is None else stopping
    server = grpc.aio.server(
        # A call that is refused is logged and counted as well.
        interceptors=[
            CallInterceptor(_PATHS, telemetry=telemetry),
            Authentication(open_access(settings.security)),
        ],
        options=_options(settings),
    )
    explain_pb2_grpc.add_ExplainerServicer_to_server(  # type: ignore[no-untyped-call]
        ExplainerServicer(
            repository,
            stopping=stopping,
            stream_window=settings.stream_window,
        ),
        server,
    )
    inference = InferenceServicer(
        repository,
        health=health,
        control=control,
        stopping=stopping,
        stream_window=settings.stream_window,
    )
    add_inference_servicer(inference, server)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if settings.has_reflection:
        reflect(server, (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"]))
    for method in (method for service in SERVICES for method in service.methods):
        kind = spell_kind(method.client_streaming, method.server_streaming)
        name = method.containing_service.full_name
        telemetry.expect_call(name, method.name, kind=kind)
    return server


def build_health_server(health: HealthServicer) -> grpc.aio.Server:
    """Return a server for probes, which bring no token and no certificate.

    Args:
        health: What probes are told.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", 4096),
            ("grpc.max_concurrent_streams", 128),
        ]
    )
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return server


def bind(server: grpc.aio.Server, settings: GrpcSettings) -> int:
    """Take the port, and return its number.

    Args:
        server: A server that does not listen yet.
        settings: Where to listen, and the certificate.

    Raises:
        StartError: The address cannot be listened on, or the certificate not be used.
    """
    tls = settings.security.tls
    credentials = None if tls is None else grpc_credentials(tls)
    address = join_address(settings.host, settings.port)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _taken(address, "gRPC", "--grpc-port") from error


def bind_health(server: grpc.aio.Server, *, host: str, port: int) -> int:
    """Take the port for probes, in plain text, and return its number.

    Args:
        server: A server that does not listen yet.
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.

    Raises:
        StartError: The address cannot be listened on.
    """
    address = join_address(host, port)
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise _taken(address, "health checks", "--health-port") from error


def _taken(address: str, purpose: str, setting: str) -> StartError:
    return StartError(
        f"cannot listen for {purpose} on {address}; free the port or choose another"
        f" with {setting}"
    )


def open_access(security: GrpcSecurity) -> Access:
    """Read the callers' tokens.

    Args:
        security: Where they lie.

    Raises:
        StartError: A file cannot be used.
    """

    def tokens(path: Path | None, setting: str) -> TokenFile | None:
        return None if path is None else TokenFile(path, setting=setting)

    return Access(
        inference=tokens(security.inference_tokens, "--inference-token-file"),
        admin=tokens(security.admin_tokens, "--admin-token-file"),
    )


def join_address(host: str, port: int) -> str:
    """Return a host and a port as gRPC writes them, IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _options(settings: GrpcSettings) -> list[tuple[str, int]]:
    return [
        # Otherwise a second server on the same port would silently share the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # Replies are bounded by the requests, so they need no limit of their own.
        ("grpc.max_send_message_length", -1),
        # Between the two sizes gRPC refuses at random, above the second always.
        ("grpc.max_metadata_size", settings.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", 2 * settings.max_metadata_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_calls),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # Balancers see new replicas only when connections are renewed.
        (
            "grpc.max_connection_age_ms",
            round(settings.max_connection_age_seconds * 1000),
        ),
        (
            "grpc.max_connection_age_grace_ms",
            round(settings.max_connection_age_grace_seconds * 1000),
        ),
        ("grpc.max_connection_idle_ms", 900_000),
    ]
