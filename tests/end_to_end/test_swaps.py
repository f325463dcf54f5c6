"""Versions that change while a real process answers."""

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.process import running_server
from tests.support.repository import put_bad_version, put_version

SERVING = health_pb2.HealthCheckResponse.SERVING
NUM_CALLERS = 4
REQUEST = explain_pb2.ExplainRequest(
    inputs=[explain_pb2.TextInput(text="a funny movie")] * 4
)


def wait_until_serving(channel: grpc.Channel, service: str) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(
        health_pb2.HealthCheckRequest(service=service)
    )
    for reply in watch:
        if reply.status == SERVING:
            break
    watch.cancel()


@pytest.mark.parametrize("num_swaps", [10])
def test_swaps_under_load_fail_no_request(tmp_path: Path, num_swaps: int) -> None:
    root = tmp_path / "models"
    put_version(root, 1)
    is_over = threading.Event()
    with (
        running_server(None, repository=root) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
        ThreadPoolExecutor(NUM_CALLERS) as callers,
    ):
        stub: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]

        def call_until_over() -> Counter[str]:
            seen: Counter[str] = Counter()
            while not is_over.is_set():
                # Whatever fails is raised where the count is asked for.
                seen[stub.Explain(REQUEST).model.version] += 1
            return seen

        loads = [callers.submit(call_until_over) for _ in range(NUM_CALLERS)]
        try:
            for version in range(2, num_swaps + 2):
                # Bad ones come in between, and change nothing.
                put_bad_version(root, 1000 + version)
                put_version(root, version)
                server.process.send_signal(signal.SIGHUP)
                wait_until_serving(channel, f"tiny/{version}")
                assert stub.Explain(REQUEST).model.version == str(version)
        finally:
            is_over.set()
        seen = sum((load.result() for load in loads), Counter[str]())
        status, log = server.terminate()
    assert status == 0, log
    assert "Traceback" not in log
    assert log.count("cannot be used: tokenizer.json") >= num_swaps
    # Every caller went through the changes, not around them.
    assert sum(seen.values()) > num_swaps
    assert len(seen) > num_swaps // 2
