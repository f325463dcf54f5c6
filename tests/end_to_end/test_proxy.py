"""nginx, as deploy/ sets it up, in front of two real servers."""

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.process import ServerProcess, running_server
from tests.support.programs import program

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx" / "nginx.conf"
REQUEST = explain_pb2.ExplainRequest(inputs=[explain_pb2.TextInput(text="a fun film")])


@contextmanager
def running_nginx(directory: Path, first: str, second: str) -> Iterator[str]:
    """Start nginx on a socket, which needs no free port; yield the target."""
    socket = directory / "nginx.sock"
    text = CONFIGURATION.read_text(encoding="utf-8")
    for here, there in {
        # First, as what comes in below may lie under /tmp as well.
        "/tmp/nginx": f"{directory}/nginx",
        "diffmask-1:8081": first,
        "diffmask-2:8081": second,
        "listen 8080": f"listen unix:{socket}",
        "/dev/stdout": str(directory / "access.log"),
        "worker_processes auto": "worker_processes 1",
    }.items():
        assert here in text
        text = text.replace(here, there)
    path = directory / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [program("nginx"), "-p", str(directory), "-c", str(path), "-g", "daemon off;"],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"unix:{socket}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_replicas(bundle: Path) -> Iterator[list[ServerProcess]]:
    with running_server(bundle) as one, running_server(bundle) as other:
        yield [one, other]


@contextmanager
def connected(replicas: list[ServerProcess], directory: Path) -> Iterator[grpc.Channel]:
    """Connect to nginx in front of two servers."""
    one, other = (each.grpc_target for each in replicas)
    with (
        running_nginx(directory, one, other) as target,
        grpc.insecure_channel(target) as opened,
    ):
        grpc.channel_ready_future(opened).result(timeout=60)
        yield opened


@pytest.fixture(scope="module")
def lasting(tiny_directory: Path) -> Iterator[list[ServerProcess]]:
    """Two servers that no test may stop."""
    with running_replicas(tiny_directory) as replicas:
        yield replicas


@pytest.fixture
def channel(lasting: list[ServerProcess], tmp_path: Path) -> Iterator[grpc.Channel]:
    with connected(lasting, tmp_path) as opened:
        yield opened


def stub(channel: grpc.Channel) -> explain_pb2_grpc.ExplainerStub:
    made: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
    return made


def num_calls(replica: ServerProcess) -> float:
    with urllib.request.urlopen(replica.metrics_url) as answer:
        text = answer.read().decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("grpc_server_started_total{") and '"Explain"' in line
    )


def test_calls_of_one_connection_go_to_both_servers(
    lasting: list[ServerProcess], channel: grpc.Channel
) -> None:
    before = [num_calls(replica) for replica in lasting]
    for _ in range(6):
        reply = stub(channel).Explain(REQUEST)
        assert reply.explanations[0].prediction.label
    assert [num_calls(replica) for replica in lasting] == [x + 3 for x in before]


def test_stream_passes_both_ways(channel: grpc.Channel) -> None:
    item = explain_pb2.ExplainStreamRequest(id="one", request=REQUEST)
    replies = stub(channel).ExplainStream(iter([item] * 3))
    assert [reply.WhichOneof("outcome") for reply in replies] == ["response"] * 3


def test_status_and_advice_of_a_refusal_pass(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub(channel).Explain(explain_pb2.ExplainRequest())
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details()


def test_no_call_is_lost_with_a_server(tiny_directory: Path, tmp_path: Path) -> None:
    with (
        running_replicas(tiny_directory) as replicas,
        connected(replicas, tmp_path) as channel,
    ):
        replicas[0].process.kill()
        replicas[0].process.wait()
        for _ in range(4):
            stub(channel).Explain(REQUEST)
        assert num_calls(replicas[1]) == 4


def test_nobody_there_is_a_status_that_clients_know(
    tiny_directory: Path, tmp_path: Path
) -> None:
    with (
        running_replicas(tiny_directory) as replicas,
        connected(replicas, tmp_path) as channel,
    ):
        for replica in replicas:
            replica.process.kill()
            replica.process.wait()
        with pytest.raises(grpc.RpcError) as raised:
            stub(channel).Explain(REQUEST)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert raised.value.details() == "no server can be reached"
