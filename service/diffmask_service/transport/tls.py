"""Certificates: read, checked, and taken up without a restart when they are renewed."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from diffmask_service.errors import StartError
from diffmask_service.transport.watched_files import WatchedFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where a listener's certificate lies, PEM.

    Attributes:
        certificate: Its chain, its own certificate first.
        key: Its private key, not encrypted.
        client_ca: Authorities whose client certificates are let in, and without which
            nobody is; None asks for no client certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of the files."""
        files = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in files if path is not None)


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return what secures a gRPC port; each new connection gets the present files.

    Connections that are open live on with what they began with.

    Args:
        files: Where the certificate lies.

    Raises:
        StartError: The files cannot be used; the error names the one.
    """
    watched = WatchedFiles(files.paths, lambda: _configuration(files))
    used = watched.value
    lock = threading.Lock()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's threads before each handshake; None is for no change.
        nonlocal used
        with lock:
            present = watched.value
            is_same, used = present is used, present
        return None if is_same else present

    return grpc.dynamic_ssl_server_credentials(
        used,
        # None is documented, but not in the stub.
        fetch,  # type: ignore[arg-type]
        require_client_authentication=files.client_ca is not None,
    )


def http_context(files: TlsFiles) -> Callable[[], ssl.SSLContext]:
    """Return a function that gives the context for the next HTTP connection.

    Client certificates are not asked for.

    Args:
        files: Where the certificate lies.

    Raises:
        StartError: The files cannot be used; the error names the one.
    """
    pair = TlsFiles(certificate=files.certificate, key=files.key)
    watched = WatchedFiles(pair.paths, lambda: _checked_context(pair))
    return lambda: watched.value


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    _checked_context(files)
    pair = (
        _read(files.key, "--tls-key"),
        _read(files.certificate, "--tls-certificate"),
    )
    roots = None
    if files.client_ca is not None:
        roots = _read(files.client_ca, "--tls-client-ca")
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)


def _checked_context(files: TlsFiles) -> ssl.SSLContext:
    # gRPC takes anything and tells only its own log why no handshake works.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _read(files.certificate, "--tls-certificate")
    _read(files.key, "--tls-key")
    try:
        # The empty password keeps OpenSSL from asking for one at the terminal.
        context.load_cert_chain(files.certificate, files.key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise StartError(
            f"--tls-certificate {files.certificate}, --tls-key {files.key}: not a PEM"
            " certificate with its own unencrypted private key"
        ) from error
    if files.client_ca is not None:
        _read(files.client_ca, "--tls-client-ca")
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise StartError(
                f"--tls-client-ca {files.client_ca}: holds no PEM certificate"
            ) from error
    return context


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(
            f"{setting} {path}: cannot be read ({error.strerror})"
        ) from error
