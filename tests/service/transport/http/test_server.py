import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from diffmask_service.errors import StartError
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.http.server import MetricsServer


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


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} .*--metrics-port"):
            MetricsServer(Telemetry().registry, host="127.0.0.1", port=port)
