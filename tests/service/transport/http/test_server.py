import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from diffmask_service.errors import StartError
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.http.server import MetricsServer
from diffmask_service.transport.tokens import TokenFile
from tests.support.certificates import Authority
from tests.support.drip import is_cut_off

TOKEN = "metrics-token-0123456789"


@pytest.fixture
def address() -> Iterator[str]:
    telemetry = Telemetry()
    telemetry.expect_call("a.B", "C")
    server = MetricsServer(telemetry.registry, host="127.0.0.1", port=0).start()
    yield f"http://127.0.0.1:{server.port}"
    server.stop()


def test_metrics_are_shown(address: str) -> None:
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        assert 'grpc_server_started_total{grpc_method="C"' in answer.read().decode()


def test_nothing_else_is_shown(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{address}/etc/passwd")
    assert raised.value.code == 404
    raised.value.close()


def test_a_crowd_is_turned_away_and_room_comes_back() -> None:
    server = MetricsServer(
        Telemetry().registry, host="127.0.0.1", port=0, max_connections=1
    ).start()
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address), socket.create_connection(address) as late:
        late.settimeout(8)  # one that is let in may be silent for 10 seconds
        assert late.recv(1) == b""
    answers: list[int] = []
    while 200 not in answers:
        with suppress(urllib.error.URLError, ConnectionError):
            answers.append(ask(f"http://127.0.0.1:{server.port}/metrics"))
    server.stop()


@pytest.mark.parametrize("has_tls", [False, True])
def test_a_client_that_sends_drop_by_drop_is_cut_off(
    tmp_path: Path,
    has_tls: bool,
) -> None:
    authority = Authority()
    server = MetricsServer(
        Telemetry().registry,
        host="127.0.0.1",
        port=0,
        tls=authority.write_server(tmp_path) if has_tls else None,
        arrival_seconds=0.2,
    ).start()
    client = socket.create_connection(("127.0.0.1", server.port))
    if has_tls:
        client = authority.client_context().wrap_socket(
            client, server_hostname="localhost"
        )
    with client:
        assert is_cut_off(client, sent_first=b"GET /metrics HTTP/1.0\r\nX-Slow: ")
    server.stop()


def test_an_answer_that_takes_longer_than_the_request_may_is_given() -> None:
    class Slow(CollectorRegistry):
        def collect(self) -> Iterable[Metric]:
            time.sleep(0.5)
            return super().collect()

    server = MetricsServer(
        Slow(), host="127.0.0.1", port=0, arrival_seconds=0.2
    ).start()
    assert ask(f"http://127.0.0.1:{server.port}/metrics") == 200
    server.stop()


@pytest.mark.parametrize("path", ["/metrics", "/nothing"])
def test_no_answer_tells_what_the_server_is_made_of(address: str, path: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("GET", path)
    headers = connection.getresponse().headers
    connection.close()
    assert headers.get_all("Server") == ["diffmask"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_no_refusal_tells_what_the_server_is_made_of(address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n" + b"X: 1\r\n" * 200 + b"\r\n")
        with client.makefile("rb") as answer:
            said = answer.read().decode()
    assert "431" in said
    assert "WSGI" not in said
    assert "Python" not in said


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_an_ipv6_address_is_listened_on() -> None:
    def start() -> MetricsServer:
        return MetricsServer(Telemetry().registry, host="::1", port=0).start()

    if not has_ipv6():
        with pytest.raises(StartError, match="cannot listen for metrics"):
            start()
        return
    server = start()
    assert ask(f"http://[::1]:{server.port}/metrics") == 200
    server.stop()


def ask(
    url: str,
    *,
    header: str = "",
    host: str = "localhost",
    context: ssl.SSLContext | None = None,
) -> int:
    headers = {"Authorization": header, "Host": host}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Bearer wrong-token-0123456", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
    ],
)
def test_metrics_ask_for_their_token(tmp_path: Path, header: str, status: int) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    tokens = TokenFile(tmp_path / "tokens", setting="--metrics-token-file")
    registry = Telemetry().registry
    server = MetricsServer(registry, host="127.0.0.1", port=0, tokens=tokens).start()
    try:
        url = f"http://127.0.0.1:{server.port}/metrics"
        assert ask(url, header=header) == status
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("name", "status"),
    [("localhost:1", 200), ("[::1]", 200), ("stranger.example", 403), ("[::1", 403)],
)
def test_a_server_of_this_machine_goes_by_its_names(
    address: str, name: str, status: int
) -> None:
    assert ask(f"{address}/metrics", host=name) == status


def test_a_token_opens_the_metrics_under_any_name(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    tokens = TokenFile(tmp_path / "tokens", setting="--metrics-token-file")
    registry = Telemetry().registry
    server = MetricsServer(registry, host="127.0.0.1", port=0, tokens=tokens).start()
    url = f"http://127.0.0.1:{server.port}/metrics"
    assert ask(url, header=f"Bearer {TOKEN}", host="metrics.example") == 200
    server.stop()


def test_a_server_for_others_goes_by_any_name() -> None:
    server = MetricsServer(Telemetry().registry, host="0.0.0.0", port=0).start()
    assert ask(f"http://127.0.0.1:{server.port}/metrics", host="a.example") == 200
    server.stop()


def test_metrics_are_encrypted_and_a_new_certificate_is_taken_up(
    tmp_path: Path,
) -> None:
    old, new = Authority(), Authority()
    files = old.write_server(tmp_path)
    server = MetricsServer(
        Telemetry().registry, host="127.0.0.1", port=0, tls=files
    ).start()
    try:
        url = f"https://127.0.0.1:{server.port}/metrics"
        assert ask(url, context=old.client_context()) == 200
        new.write_server(tmp_path)
        assert ask(url, context=new.client_context()) == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(url, context=old.client_context())
    finally:
        server.stop()


def test_a_silent_client_holds_up_nobody_with_tls(tmp_path: Path) -> None:
    authority = Authority()
    files = authority.write_server(tmp_path)
    server = MetricsServer(
        Telemetry().registry, host="127.0.0.1", port=0, tls=files
    ).start()
    try:
        with socket.create_connection(("127.0.0.1", server.port)):
            url = f"https://127.0.0.1:{server.port}/metrics"
            assert ask(url, context=authority.client_context()) == 200
    finally:
        server.stop()


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} .*--metrics-port"):
            MetricsServer(Telemetry().registry, host="127.0.0.1", port=port)
