"""TLS through real gRPC: who gets in, and what a renewal changes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.client import AsyncClient, tls_credentials
from diffmask_service.errors import InvalidInput, NotReadyError, StartError
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.tls import TlsFiles, grpc_credentials
from tests.support.certificates import Authority

ALIVE = health_pb2.HealthCheckRequest(service="liveness")


@pytest.fixture
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def listening(files: TlsFiles) -> AsyncIterator[str]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(()), server)
    port = server.add_secure_port("127.0.0.1:0", grpc_credentials(files))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def is_let_in(target: str, credentials: grpc.ChannelCredentials) -> bool:
    # Without its own pool a channel would take over another's connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        code = await health_pb2_grpc.HealthStub(channel).Check(ALIVE).code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return code is grpc.StatusCode.OK


async def test_a_renewed_certificate_is_shown_to_new_connections(
    tmp_path: Path, authority: Authority
) -> None:
    successor = Authority()
    async with listening(authority.write_server(tmp_path)) as target:
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(
            target, authority.client_credentials(), options
        ) as open_before:
            stub = health_pb2_grpc.HealthStub(open_before)
            await stub.Check(ALIVE)
            successor.write_server(tmp_path)
            assert await is_let_in(target, successor.client_credentials())
            assert not await is_let_in(target, authority.client_credentials())
            # What is open lives on.
            await stub.Check(ALIVE)


async def test_a_half_done_renewal_changes_nothing(
    tmp_path: Path, authority: Authority
) -> None:
    files = authority.write_server(tmp_path)
    async with listening(files) as target:
        (tmp_path / "next").mkdir()
        following = Authority().write_server(tmp_path / "next")
        files.certificate.write_bytes(following.certificate.read_bytes())
        assert await is_let_in(target, authority.client_credentials())
        files.key.unlink()
        assert await is_let_in(target, authority.client_credentials())


async def test_clients_without_a_certificate_of_ours_stay_out(
    tmp_path: Path, authority: Authority
) -> None:
    stranger = Authority()
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours = authority.write_client(tmp_path / "ours")
    theirs = stranger.write_client(tmp_path / "theirs") | {"roots": ours["roots"]}
    async with listening(authority.write_server(tmp_path, clients=True)) as target:
        assert await is_let_in(target, tls_credentials(**ours))
        assert not await is_let_in(target, tls_credentials(**theirs))
        assert not await is_let_in(target, authority.client_credentials())


async def test_our_client_checks_who_answers(
    tmp_path: Path, authority: Authority
) -> None:
    roots = Authority().write_client(tmp_path)["roots"]
    async with listening(authority.write_server(tmp_path)) as target:
        credentials = tls_credentials(roots=roots)
        async with AsyncClient(target, credentials=credentials) as client:
            with pytest.raises(NotReadyError, match=r"CERTIFICATE_VERIFY|andshake"):
                await client.check_health("liveness")


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("certificate", "not a PEM certificate with its own"),
        ("key", "not a PEM certificate with its own"),
        ("client_ca", "--tls-client-ca .*holds no PEM certificate"),
    ],
)
def test_files_that_are_no_certificate_are_named(
    tmp_path: Path, authority: Authority, spoilt: str, message: str
) -> None:
    files = authority.write_server(tmp_path, clients=True)
    getattr(files, spoilt).write_text("nothing")
    with pytest.raises(StartError, match=message):
        grpc_credentials(files)


@pytest.mark.parametrize(
    ("absent", "setting"),
    [
        ("certificate", "--tls-certificate"),
        ("key", "--tls-key"),
        ("client_ca", "--tls-client-ca"),
    ],
)
def test_files_that_are_absent_are_named(
    tmp_path: Path, authority: Authority, absent: str, setting: str
) -> None:
    files = authority.write_server(tmp_path, clients=True)
    path = getattr(files, absent)
    path.unlink()
    with pytest.raises(StartError, match=f"{setting} {path}: cannot be read"):
        grpc_credentials(files)


def test_a_key_of_another_certificate_is_refused(
    tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "other").mkdir()
    files = authority.write_server(tmp_path)
    other = authority.write_server(tmp_path / "other")
    files.key.write_bytes(other.key.read_bytes())
    with pytest.raises(StartError, match="with its own unencrypted private key"):
        grpc_credentials(files)


def test_client_files_are_checked(tmp_path: Path, authority: Authority) -> None:
    paths = authority.write_client(tmp_path)
    with pytest.raises(InvalidInput, match="go together"):
        tls_credentials(certificate=paths["certificate"])
    with pytest.raises(InvalidInput, match="absent: cannot be read"):
        tls_credentials(roots=tmp_path / "absent")
