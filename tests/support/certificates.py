"""Certificates that are made for a test."""

import ssl
from pathlib import Path

import grpc
import trustme

from diffmask_service.transport.tls import TlsFiles


class Authority:
    """Vouches for servers on this machine and for clients."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_server(self, directory: Path, *, clients: bool = False) -> TlsFiles:
        """Write a server's files, over those that are there.

        Args:
            directory: Where.
            clients: Whether to ask clients for a certificate of this authority.
        """
        leaf = self._ca.issue_cert("localhost", "127.0.0.1")
        files = TlsFiles(
            certificate=directory / "server.pem",
            key=directory / "server.key",
            client_ca=directory / "clients.pem" if clients else None,
        )
        files.certificate.write_bytes(_chain(leaf))
        files.key.write_bytes(leaf.private_key_pem.bytes())
        if files.client_ca is not None:
            self._ca.cert_pem.write_to_path(files.client_ca)
        return files

    def write_client(self, directory: Path) -> dict[str, Path]:
        """Write a client's files; the keys are the keywords of `tls_credentials`."""
        leaf = self._ca.issue_cert("auditor@example.org")
        paths = {
            name: directory / f"client.{name}"
            for name in ("roots", "certificate", "key")
        }
        self._ca.cert_pem.write_to_path(paths["roots"])
        paths["certificate"].write_bytes(_chain(leaf))
        leaf.private_key_pem.write_to_path(paths["key"])
        return paths

    def client_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials that trust this authority and show nothing."""
        return grpc.ssl_channel_credentials(self._ca.cert_pem.bytes())

    def client_context(self) -> ssl.SSLContext:
        """Return the same for HTTP."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


def _chain(leaf: trustme.LeafCert) -> bytes:
    return b"".join(part.bytes() for part in leaf.cert_chain_pems)
