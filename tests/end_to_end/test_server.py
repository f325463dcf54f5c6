"""A real process, a real socket."""

import itertools
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from benchmarks.fuzzing.frames import SETTINGS, frame, whole_call
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.process import ServerProcess, launch, running_server
from tests.support.tiny import tiny_input_gates, tiny_logits

SERVING = health_pb2.HealthCheckResponse.SERVING
TOKENS = ("[CLS]", "a", "fun", "##ny", "movie", "[SEP]")
BOTH = explain_pb2.ExplainOptions(
    gates=[explain_pb2.GATE_KIND_INPUT, explain_pb2.GATE_KIND_HIDDEN]
)


@pytest.fixture(scope="module")
def server(tiny_directory: Path) -> Iterator[ServerProcess]:
    with running_server(tiny_directory) as running:
        yield running


@pytest.fixture
def channel(server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc_target) as opened:
        yield opened


def request_for(*texts: str) -> explain_pb2.ExplainRequest:
    inputs = [explain_pb2.TextInput(text=text) for text in texts]
    return explain_pb2.ExplainRequest(inputs=inputs, options=BOTH)


def explainer(channel: grpc.Channel) -> explain_pb2_grpc.ExplainerStub:
    stub: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
    return stub


def test_explain_gives_the_closed_form(channel: grpc.Channel) -> None:
    reply = explainer(channel).Explain(request_for("a funny movie"))
    (explanation,) = reply.explanations
    assert explanation.prediction.label == "positive"
    assert list(explanation.prediction.logits) == tiny_logits(TOKENS).tolist()
    gates = np.frombuffer(explanation.input_gates.values, dtype="<f4")
    assert gates.tolist() == tiny_input_gates(TOKENS).ravel().tolist()
    assert reply.request_id


@pytest.mark.parametrize(
    "service", ["", "liveness", "readiness", "tiny", "diffmask.v1.Explainer"]
)
def test_health_is_serving(channel: grpc.Channel, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    reply = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert reply.status == SERVING


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"diffmask.v1.Explainer", "grpc.health.v1.Health"} <= services


def test_metrics_count_the_calls(server: ServerProcess, channel: grpc.Channel) -> None:
    explainer(channel).Explain(request_for("a funny movie"))
    with urllib.request.urlopen(server.metrics_url) as answer:
        text = answer.read().decode()
    assert 'diffmask_model_ready{model="tiny",version="3"} 1.0' in text
    assert 'grpc_method="Explain"' in text


def test_nothing_but_metrics_is_served_over_http(server: ServerProcess) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404") as raised:
        urllib.request.urlopen(server.metrics_url.replace("/metrics", "/"))
    raised.value.close()


def test_sigterm_during_load_loses_nothing_and_exits_0(tiny_directory: Path) -> None:
    with (
        running_server(tiny_directory) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        ThreadPoolExecutor(4) as callers,
    ):
        stub, request = explainer(channel), request_for(*["a funny movie"] * 16)
        stub.Explain(request)

        def call_until_refused() -> tuple[int, grpc.StatusCode]:
            answered = 0
            while True:
                try:
                    reply = stub.Explain(request)
                except grpc.RpcError as error:
                    return answered, error.code()
                assert len(reply.explanations) == 16
                answered += 1

        loads = [callers.submit(call_until_refused) for _ in range(4)]
        for _ in range(20):
            stub.Explain(request)
        status, log = server.terminate()
        endings = [load.result() for load in loads]
    assert status == 0, log
    # A refusal is what tells the caller to go elsewhere; a lost call would end in
    # CANCELLED, INTERNAL or silence.
    assert {code for _, code in endings} == {grpc.StatusCode.UNAVAILABLE}
    assert sum(answered for answered, _ in endings) > 0
    assert "Traceback" not in log


def test_sigterm_ends_streams_after_their_answers(tiny_directory: Path) -> None:
    message = explain_pb2.ExplainStreamRequest(request=request_for("a funny movie"))
    with (
        running_server(tiny_directory) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        ThreadPoolExecutor(3) as callers,
    ):
        stub, flowing = explainer(channel), threading.Barrier(4)

        def stream_until_refused() -> tuple[grpc.StatusCode, str | bytes]:
            call = stub.ExplainStream(itertools.repeat(message))
            try:
                for number, reply in enumerate(call):
                    assert reply.HasField("response")
                    if number == 20:
                        flowing.wait()
            except grpc.RpcError as error:
                trailers: dict[str, str | bytes] = dict(error.trailing_metadata())  # type: ignore[arg-type]
                return error.code(), trailers["grpc-retry-pushback-ms"]
            raise AssertionError

        loads = [callers.submit(stream_until_refused) for _ in range(3)]
        # One that never says anything must end as well.
        silence = threading.Event()
        silent = stub.ExplainStream(iter(silence.wait, None))
        flowing.wait()
        status, log = server.terminate()
        endings = [load.result() for load in loads]
        with pytest.raises(grpc.RpcError) as raised:
            next(silent)
        silence.set()
    assert status == 0, log
    assert endings == [(grpc.StatusCode.UNAVAILABLE, "500")] * 3
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in log


def test_a_reader_that_takes_nothing_does_not_hold_up_the_stop(
    tiny_directory: Path,
) -> None:
    message = explain_pb2.ExplainStreamRequest(
        request=request_for(*["a funny movie"] * 32)
    )
    with (
        running_server(tiny_directory, drain_seconds=1) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        # Its replies fill what the connection holds, then the server's writes wait.
        call = explainer(channel).ExplainStream(itertools.repeat(message))
        next(call)
        status, log = server.terminate()
        call.cancel()
    assert status == 0, log
    assert "Traceback" not in log


def test_an_open_watch_does_not_hold_up_the_stop(tiny_directory: Path) -> None:
    with (
        running_server(tiny_directory, drain_seconds=600) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="tiny")
        )
        seen = [next(watch).status]
        status, log = server.terminate()
        seen += [reply.status for reply in watch]
    assert status == 0, log
    assert seen == [SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


def test_a_path_that_is_not_utf8_ends_nothing(tiny_directory: Path) -> None:
    # gRPC's own server would refuse every further connection.
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS)
    with running_server(tiny_directory) as server:
        host, _, port = server.grpc_target.rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(preface + whole_call(1, "/\xff/x", b""))
            received = b""
            while b"Method not found" not in received:
                chunk = connection.recv(4096)
                assert chunk, "the server closed the connection"
                received += chunk
        with grpc.insecure_channel(server.grpc_target) as channel:
            explainer(channel).Explain(request_for("a funny movie"))
        status, _ = server.terminate()
    assert status == 0


@pytest.mark.parametrize(
    ("setting", "purpose"), [("grpc_port", "gRPC"), ("metrics_port", "metrics")]
)
def test_a_port_in_use_is_named_with_the_remedy(
    tiny_directory: Path, setting: str, purpose: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch(tiny_directory, **{setting: port})
        _, log = process.communicate()
    assert process.returncode == 2
    assert f"cannot listen for {purpose} on 127.0.0.1:{port}" in log
    assert "--" + setting.replace("_", "-") in log
    assert "Traceback" not in log


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    process = launch(tmp_path / "absent")
    _, log = process.communicate()
    assert process.returncode == 2
    assert "absent: no such directory" in log
    assert "Traceback" not in log
