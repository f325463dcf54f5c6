"""Settings of the server; the only reader of flags and environment.

A setting is one name in three spellings: the field `queue_tokens`, the flag
`--queue-tokens`, the variable `DIFFMASK_QUEUE_TOKENS`. A flag beats a variable, a
variable the default.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from diffmask_service.engine.limits import Device, EngineLimits, count_cores
from diffmask_service.errors import StartError
from diffmask_service.telemetry import TraceSettings
from diffmask_service.transport.grpc.server import GrpcSecurity, GrpcSettings
from diffmask_service.transport.tls import TlsFiles
from diffmask_service.transport.tokens import TokenFile

_PREFIX = "DIFFMASK_"
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _setting(
    meaning: str,
    *,
    default: Any,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] = (),
    is_secret: bool = False,
) -> Any:
    metadata = {
        "meaning": meaning,
        "at_least": at_least,
        "at_most": at_most,
        "choices": choices,
        "is_secret": is_secret,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Everything that can be set, each with its meaning and trade-off in the source."""

    bundle: Path = _setting(  # noqa: RUF009 - a field, made once
        "Directory of the bundle to serve, if it is one; there is no default.",
        default=Path(),
    )
    repository: Path = _setting(  # noqa: RUF009 - a field, made once
        "Folder of the bundles to serve, if they are several, as MODEL/VERSION with the"
        " version's number; there is no default. On SIGHUP it is looked at again.",
        default=Path(),
    )
    max_versions: int = _setting(
        "Versions of each model that stay loaded, the highest first. With more, callers"
        " may name an older one; each takes the memory of a model.",
        default=1,
        at_least=1,
        at_most=64,
    )
    poll_seconds: float = _setting(
        "Time between two looks for new versions, seconds; 0 for none but on SIGHUP."
        " Put versions in place by renaming, or they are seen half written.",
        default=0.0,
        at_least=0.0,
        at_most=86_400.0,
    )
    model_control: bool = _setting(
        "Whether callers may have models loaded and unloaded. Whoever reaches the port"
        " can then take a model out of service.",
        default=False,
    )
    precision: str = _setting(
        "Which of the bundle's graphs to run; empty for the bundle's choice. Lower"
        " precision is faster and answers a little differently.",
        default="",
        choices=("", "fp32", "fp16", "int8", "w8"),
    )
    host: str = _setting(
        "Address to listen on. 0.0.0.0 reaches other machines, and asks for TLS and"
        " tokens or client certificates.",
        default="127.0.0.1",
    )
    grpc_port: int = _setting(
        "Port for gRPC; 0 lets the system choose.",
        default=8081,
        at_least=0,
        at_most=65535,
    )
    metrics_port: int = _setting(
        "Port for /metrics over HTTP; 0 lets the system choose.",
        default=8082,
        at_least=0,
        at_most=65535,
    )
    device: Device = _setting(  # noqa: RUF009 - a field, made once
        "Where to run the model; auto takes a GPU where ONNX Runtime offers one. cuda"
        " refuses to start without one, which auto would hide.",
        default="auto",
        choices=("auto", "cpu", "cuda"),
    )
    health_port: int = _setting(
        "Port for gRPC health checks in plain text and without a token, opened when TLS"
        " or inference tokens are on; 0 lets the system choose.",
        default=8083,
        at_least=0,
        at_most=65535,
    )
    tls_certificate: Path = _setting(  # noqa: RUF009 - a field, made once
        "PEM file of the certificate chain; with its key it encrypts gRPC. Read again"
        " when it changes.",
        default=Path(),
    )
    tls_key: Path = _setting(  # noqa: RUF009
        "PEM file of the certificate's private key, not encrypted.", default=Path()
    )
    tls_client_ca: Path = _setting(  # noqa: RUF009
        "PEM file of authorities; only clients with a certificate of theirs are let in."
        " Empty asks for none.",
        default=Path(),
    )
    metrics_tls: bool = _setting(
        "Whether /metrics is encrypted with the same certificate.", default=False
    )
    inference_token_file: Path = _setting(  # noqa: RUF009
        "File of the tokens that callers must bring, one a line, several valid at a"
        " time. Read again when it changes. Empty lets everybody in.",
        default=Path(),
    )
    admin_token_file: Path = _setting(  # noqa: RUF009
        "File of the tokens for calls that change which models are served. Empty closes"
        " them as soon as there are inference tokens.",
        default=Path(),
    )
    metrics_token_file: Path = _setting(  # noqa: RUF009
        "File of the tokens for /metrics. Empty shows them to everybody.",
        default=Path(),
    )
    insecure: bool = _setting(
        "Whether to serve other machines without TLS, tokens or client certificates:"
        " only behind a proxy or in a network that you trust.",
        default=False,
    )
    workers: int = _setting(
        "Runs of the model at the same time on a CPU, one core each; 0 for one per"
        " core. More than the cores slows every request.",
        default=0,
        at_least=0,
        at_most=1024,
    )
    max_batch_tokens: int = _setting(
        "Most tokens of one run on a GPU, padding counted. Larger runs answer more"
        " texts a second and each of them later, and take more memory.",
        default=16_384,
        at_least=1,
        at_most=1 << 24,
    )
    max_texts: int = _setting(
        "Most texts of a request. Larger requests cost fewer round trips and make"
        " others wait longer.",
        default=32,
        at_least=1,
        at_most=4096,
    )
    max_text_bytes: int = _setting(
        "Longest text, bytes of UTF-8. Longer texts take time to tokenize even if the"
        " model then refuses them.",
        default=16_384,
        at_least=1,
        at_most=1 << 26,
    )
    max_message_bytes: int = _setting(
        "Largest request, bytes; larger ones are refused before they are read whole."
        " Bounds memory.",
        default=2 << 20,
        at_least=1024,
        at_most=1 << 30,
    )
    max_metadata_bytes: int = _setting(
        "Largest headers of a call, bytes; twice as much is never let in.",
        default=8192,
        at_least=1024,
        at_most=1 << 20,
    )
    max_concurrent_calls: int = _setting(
        "Most calls of a connection at a time; further ones wait at the client.",
        default=1024,
        at_least=1,
        at_most=1 << 20,
    )
    max_connection_age_seconds: float = _setting(
        "When a connection is renewed, seconds, moved by up to a tenth at random."
        " Shorter spreads clients over new replicas sooner and costs handshakes.",
        default=300.0,
        at_least=1.0,
        at_most=2_000_000.0,
    )
    max_connection_age_grace_seconds: float = _setting(
        "Time for what is in progress on a connection that is renewed, seconds. Streams"
        " that last longer are cut off.",
        default=3600.0,
        at_least=0.0,
        at_most=2_000_000.0,
    )
    stream_window_requests: int = _setting(
        "Most requests of one stream in progress; no more are read until the oldest is"
        " answered. More keep the workers busier and take more memory.",
        default=16,
        at_least=1,
        at_most=4096,
    )
    queue_tokens: int = _setting(
        "Most tokens admitted and not yet answered. A longer queue refuses fewer"
        " requests and makes them wait longer.",
        default=65_536,
        at_least=1,
        at_most=1 << 30,
    )
    default_deadline_seconds: float = _setting(
        "Time for a request that brings no deadline, seconds. Too long keeps work for"
        " callers who have left.",
        default=10.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    max_deadline_seconds: float = _setting(
        "Most time that any request gets, however late its deadline, seconds. Bounds"
        " how long a caller who forgot to set one can hold its place.",
        default=3600.0,
        at_least=0.001,
        at_most=86_400.0,
    )
    inline_tokens: int = _setting(
        "A request of at most so many tokens, as its bytes tell, is tokenized and"
        " decoded on the event loop. More saves changes of threads, and makes other"
        " calls wait for the text work.",
        default=512,
        at_least=0,
        at_most=65_536,
    )
    late_factor: float = _setting(
        "Refuse a request at once when what waits in front of it is expected to take"
        " more than this many times the time it has left; 0 refuses none. Lower"
        " refuses more requests that would just have made it.",
        default=1.5,
        at_least=0.0,
        at_most=1000.0,
    )
    min_retry_seconds: float = _setting(
        "Shortest wait that a refusal advises, seconds. Too short invites a storm.",
        default=0.05,
        at_least=0.001,
        at_most=3600.0,
    )
    max_retry_seconds: float = _setting(
        "Longest wait that a refusal advises, seconds. Too long leaves a server idle"
        " that has caught up.",
        default=5.0,
        at_least=0.001,
        at_most=3600.0,
    )
    priority_levels: int = _setting(
        "Levels of priority that a request may name, 1 the highest. One level makes"
        " everybody equal.",
        default=3,
        at_least=1,
        at_most=100,
    )
    default_priority: int = _setting(
        "Level of a request that names none. The highest leaves no way to be more"
        " urgent.",
        default=2,
        at_least=1,
        at_most=100,
    )
    priority_step_seconds: float = _setting(
        "Head start of a level over the next lower one, seconds: a request overtakes"
        " those one level below that came at most this long before it. Longer makes"
        " levels count for more, and the lowest wait longer.",
        default=1.0,
        at_least=0.0,
        at_most=3600.0,
    )
    drain_seconds: float = _setting(
        "Longest wait for requests in progress when stopping, seconds. Keep it below"
        " what the platform allows before it kills the process.",
        default=20.0,
        at_least=0.0,
        at_most=3600.0,
    )
    reflection: bool = _setting(
        "Whether tools may ask the server for its API. Off tells strangers less.",
        default=True,
    )
    log_level: str = _setting(
        "Lowest level of the log; INFO writes one line a request.",
        default="INFO",
        choices=_LEVELS,
    )
    log_format: str = _setting(
        "How the log is written: lines for people, or one JSON object a line.",
        default="text",
        choices=("text", "json"),
    )
    metrics_by_state: bool = _setting(
        "Whether each state of a model has metrics of its own. Off gives one sum over"
        " all states, and far fewer series.",
        default=True,
    )
    trace_endpoint: str = _setting(
        "URL of an OpenTelemetry collector for spans, such as http://collector:4317;"
        " empty sends none. Needs the extra tracing.",
        default="",
    )
    trace_protocol: str = _setting(
        "How to speak to the collector; with http the URL holds the whole path, such as"
        " http://collector:4318/v1/traces.",
        default="grpc",
        choices=("grpc", "http"),
    )
    trace_ratio: float = _setting(
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
            security=GrpcSecurity(
                tls=self.tls_files,
                inference_tokens=_path(self.inference_token_file),
                admin_tokens=_path(self.admin_token_file),
            ),
        )

    @property
    def tls_files(self) -> TlsFiles | None:
        """The certificate; None for plain text."""
        if self.tls_certificate == Path() or self.tls_key == Path():
            return None
        return TlsFiles(
            certificate=self.tls_certificate,
            key=self.tls_key,
            client_ca=_path(self.tls_client_ca),
        )

    @property
    def metrics_tokens(self) -> TokenFile | None:
        """Who may read the metrics; None for everybody.

        Raises:
            StartError: The file cannot be used.
        """
        path = _path(self.metrics_token_file)
        return None if path is None else TokenFile(path, setting="--metrics-token-file")

    @property
    def has_health_listener(self) -> bool:
        """Whether probes need a port of their own."""
        return self.tls_files is not None or self.inference_token_file != Path()

    def contradictions(self) -> list[str]:
        """Return what is wrong with the settings taken together."""
        return [
            *self._misplaced(),
            *self._out_of_order(),
            *self._unguarded(),
        ]

    def _misplaced(self) -> list[str]:
        is_one, is_many = self.bundle != Path(), self.repository != Path()
        if is_one and is_many:
            return ["--bundle: and --repository are both given; serve one of them"]
        if not is_one and not is_many:
            return [
                "--bundle: is missing; name the directory of a bundle, or with"
                " --repository a folder of several"
            ]
        return []

    def _out_of_order(self) -> list[str]:
        problems = []
        if self.default_priority > self.priority_levels:
            problems.append(
                f"--default-priority: {self.default_priority} is none of the"
                f" {self.priority_levels} levels of --priority-levels"
            )
        if self.min_retry_seconds > self.max_retry_seconds:
            problems.append(
                "--min-retry-seconds: is longer than --max-retry-seconds,"
                f" {self.min_retry_seconds} > {self.max_retry_seconds}"
            )
        return problems

    def _unguarded(self) -> list[str]:
        problems = []
        has_tls = self.tls_files is not None
        if (self.tls_certificate == Path()) != (self.tls_key == Path()):
            problems.append("--tls-certificate, --tls-key: go together; give both")
        elif not has_tls and self.tls_client_ca != Path():
            problems.append("--tls-client-ca: needs --tls-certificate and --tls-key")
        if self.metrics_tls and not has_tls:
            problems.append("--metrics-tls: needs --tls-certificate and --tls-key")
        is_guarded = has_tls and (
            self.inference_token_file != Path() or self.tls_client_ca != Path()
        )
        if self.host not in _LOOPBACK and not is_guarded and not self.insecure:
            problems.append(
                f"--host: {self.host} reaches other machines; give --tls-certificate,"
                " --tls-key, and --inference-token-file or --tls-client-ca, or say"
                " --insecure in a network that you trust"
            )
        return problems


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a parser one flag for each setting; values stay text for `read_config`.

    Args:
        parser: Where the flags go; an absent flag leaves no attribute.
    """
    for setting in fields(ServiceConfig):
        meaning = setting.metadata["meaning"]
        # A switch may stand alone: `--insecure` is `--insecure true`.
        switch = {"nargs": "?", "const": "true"}
        more: dict[str, Any] = switch if isinstance(setting.default, bool) else {}
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{meaning} [{shown_default(setting)}]".replace("%", "%%"),
            **more,
        )


def shown_default(setting: Field[Any]) -> str:
    """Return how help and documentation write a setting's default."""
    if isinstance(setting.default, bool):
        return str(setting.default).lower()
    if setting.default == Path():
        return "none"
    return str(setting.default) or "empty"


def read_config(
    flags: Mapping[str, object], environment: Mapping[str, str]
) -> ServiceConfig:
    """Put the settings together and check them.

    Args:
        flags: Text by field name, as `vars` gives it for a parsed command line; other
            names are passed over.
        environment: Variables, such as `os.environ`.

    Raises:
        StartError: Values are wrong; all problems are named at once.
    """
    values: dict[str, Any] = {}
    problems = _unknown_variables(environment)
    for setting in fields(ServiceConfig):
        variable = _PREFIX + setting.name.upper()
        if setting.name in flags:
            source, text = (
                "--" + setting.name.replace("_", "-"),
                str(flags[setting.name]),
            )
        elif variable in environment:
            source, text = variable, environment[variable]
        else:
            continue
        try:
            values[setting.name] = _parse(setting, text)
        except ValueError as error:
            problems.append(f"{source}: {error}")
    problems += ServiceConfig(**values).contradictions()
    if problems:
        raise wrong_settings(problems)
    return ServiceConfig(**values)


def wrong_settings(problems: Sequence[str]) -> StartError:
    """Return the error that names problems of the settings, one a line."""
    return StartError("wrong settings:\n  " + "\n  ".join(problems))


def format_config(config: ServiceConfig) -> str:
    """Return the effective settings, one a line, secrets masked."""
    lines = []
    for setting in fields(config):
        value = getattr(config, setting.name)
        shown = "********" if setting.metadata["is_secret"] and value else value
        lines.append(f"{setting.name} = {shown}")
    return "\n".join(lines)


def _path(setting: Path) -> Path | None:
    return None if setting == Path() else setting


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {_PREFIX + setting.name.upper() for setting in fields(ServiceConfig)}
    return [
        f"{name}: no such setting; known are {', '.join(sorted(known))}"
        for name in sorted(environment)
        if name.startswith(_PREFIX) and name not in known
    ]


def _parse(setting: Field[Any], text: str) -> Any:
    if isinstance(setting.default, bool):
        return _parse_switch(text)
    choices = setting.metadata["choices"]
    kind: Callable[[str], Any] = str if choices else setting.type  # type: ignore[assignment]
    try:
        value = kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{text!r} is not {noun}") from None
    if choices and value not in choices:
        names = ", ".join(choice for choice in choices if choice)
        raise ValueError(f"{text!r} is not one of {names}")
    low, high = setting.metadata["at_least"], setting.metadata["at_most"]
    # Written so that "nan" fails as well.
    if low is not None and not low <= value <= high:
        raise ValueError(f"{text} is not between {low} and {high}")
    return value


def _parse_switch(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")
