"""Settings of who is let in, and what is encrypted."""

from dataclasses import dataclass
from pathlib import Path

from diffmask_service.config.setting import path_or_none, setting
from diffmask_service.transport.grpc.server import GrpcSecurity
from diffmask_service.transport.http.names import LOOPBACK
from diffmask_service.transport.tls import TlsFiles
from diffmask_service.transport.tokens import TokenFile


@dataclass(frozen=True, kw_only=True)
class SecurityConfig:
    """Certificates and tokens."""

    tls_certificate: Path = setting(  # noqa: RUF009 - a field, made once
        "PEM file of the certificate chain; with its key it encrypts gRPC. Read again"
        " when it changes.",
        default=Path(),
    )
    tls_key: Path = setting(  # noqa: RUF009
        "PEM file of the certificate's private key, not encrypted.", default=Path()
    )
    tls_client_ca: Path = setting(  # noqa: RUF009
        "PEM file of authorities; only clients with a certificate of theirs are let in."
        " Empty asks for none.",
        default=Path(),
    )
    metrics_tls: bool = setting(
        "Whether /metrics and the console are encrypted with the same certificate.",
        default=False,
    )
    inference_token_file: Path = setting(  # noqa: RUF009
        "File of the tokens that callers must bring, one a line, several valid at a"
        " time. Read again when it changes. Empty lets everybody in.",
        default=Path(),
    )
    admin_token_file: Path = setting(  # noqa: RUF009
        "File of the tokens for calls that change which models are served. Empty closes"
        " them as soon as there are inference tokens.",
        default=Path(),
    )
    metrics_token_file: Path = setting(  # noqa: RUF009
        "File of the tokens for /metrics. Empty shows them to everybody.",
        default=Path(),
    )
    insecure: bool = setting(
        "Whether to serve other machines without TLS, tokens or client certificates:"
        " only behind a proxy or in a network that you trust.",
        default=False,
    )

    @property
    def grpc_security(self) -> GrpcSecurity:
        """What the gRPC listener needs to know of it."""
        return GrpcSecurity(
            tls=self.tls_files,
            inference_tokens=path_or_none(self.inference_token_file),
            admin_tokens=path_or_none(self.admin_token_file),
        )

    @property
    def tls_files(self) -> TlsFiles | None:
        """The certificate; None for plain text."""
        if self.tls_certificate == Path() or self.tls_key == Path():
            return None
        return TlsFiles(
            certificate=self.tls_certificate,
            key=self.tls_key,
            client_ca=path_or_none(self.tls_client_ca),
        )

    @property
    def metrics_tokens(self) -> TokenFile | None:
        """Who may read the metrics; None for everybody.

        Raises:
            StartError: The file cannot be used.
        """
        path = path_or_none(self.metrics_token_file)
        return None if path is None else TokenFile(path, setting="--metrics-token-file")

    @property
    def has_health_listener(self) -> bool:
        """Whether probes need a port of their own."""
        return self.tls_files is not None or self.inference_token_file != Path()

    def unguarded(self, *, host: str, has_console: bool = False) -> list[str]:
        """Return what keeps the server from being as safe as it is meant to be.

        Args:
            host: Address that it listens on.
            has_console: Whether the HTTP listener takes calls as well.
        """
        problems = self._unguarded_console(host) if has_console else []
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
        if host not in LOOPBACK and not is_guarded and not self.insecure:
            problems.append(
                f"--host: {host} reaches other machines; give --tls-certificate,"
                " --tls-key, and --inference-token-file or --tls-client-ca, or say"
                " --insecure in a network that you trust"
            )
        return problems

    def _unguarded_console(self, host: str) -> list[str]:
        if self.insecure:
            return []
        has_tokens = self.inference_token_file != Path()
        problems = []
        if self.tls_client_ca != Path() and not has_tokens:
            problems.append(
                "--console: browsers are not asked for the certificates of"
                " --tls-client-ca; give --inference-token-file as well"
            )
        if host not in LOOPBACK and not (self.metrics_tls and has_tokens):
            problems.append(
                f"--console: {host} reaches other machines; give --metrics-tls and"
                " --inference-token-file, or say --insecure in a network that you trust"
            )
        return problems
