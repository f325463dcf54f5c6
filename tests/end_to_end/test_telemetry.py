"""What a real server tells of itself, and of nobody else: metrics, spans, the log."""

import json
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest

from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc
from tests.support.collector import Collector, grpc_collector, http_collector
from tests.support.drifting import tiny_histograms
from tests.support.process import running_server
from tests.support.programs import program
from tests.support.tiny import write_tiny_bundle

# A word that the vocabulary does not have, and one that it has.
CANARY, KNOWN = "zanzibar", "dull"
METHOD = "/diffmask.v1.Explainer/Explain"
BOTH = explain_pb2.ExplainOptions(
    gates=[explain_pb2.GATE_KIND_INPUT, explain_pb2.GATE_KIND_HIDDEN],
    verify=explain_pb2.VerifyOptions(),
)
LOG_FIELDS = {"time", "level", "logger", "message", "id", "method", "code"}
LOG_FIELDS |= {"texts", "tokens", "seconds", "tokenize", "queue", "infer", "decode"}
SPAN_FIELDS = {"rpc.system", "rpc.service", "rpc.method", "diffmask.request_id"}
SPAN_FIELDS |= {"diffmask.grpc_code", "diffmask.num_tokens", "diffmask.num_masks"}


def scrape(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture(scope="module")
def watched_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has everything that makes metrics."""
    directory = tmp_path_factory.mktemp("bundles") / "watched"
    write_tiny_bundle(directory, reference=tiny_histograms())
    return directory


def test_promtool_finds_nothing_to_mend(watched_directory: Path) -> None:
    with (
        running_server(watched_directory) as server,
        grpc.insecure_channel(server.grpc_target) as channel,
    ):
        idle = scrape(server.metrics_url)
        say_everything(channel)
        busy = scrape(server.metrics_url)
    for text in (idle, busy):
        done = subprocess.run(
            [program("promtool"), "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "diffmask_state_drift_ratio" in busy
    assert series(idle) == series(busy)


def series(text: str) -> set[str]:
    return {line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"}


def say_everything(channel: grpc.Channel) -> None:
    """Bring the canary in by every door, and see that it gets its statuses."""
    stub: explain_pb2_grpc.ExplainerStub = explain_pb2_grpc.ExplainerStub(channel)  # type: ignore[no-untyped-call]
    text = explain_pb2.TextInput(text=f"a {KNOWN} {CANARY}")
    long = explain_pb2.TextInput(text=f"{CANARY} " * 50)
    reply = stub.Explain(explain_pb2.ExplainRequest(inputs=[text], options=BOTH))
    assert KNOWN in reply.explanations[0].units.texts
    request = explain_pb2.ExplainRequest
    states = explain_pb2.ExplainOptions(states=[CANARY])
    refused = [
        request(inputs=[long], options=BOTH),
        request(inputs=[text], model=CANARY),
        request(inputs=[text], version=CANARY),
        request(inputs=[text], options=states),
        request(inputs=[text, explain_pb2.TextInput(text=" ")]),
    ]
    for each in refused:
        with pytest.raises(grpc.RpcError):
            stub.Explain(each)
    with pytest.raises(grpc.RpcError):
        stub.Explain(request(inputs=[text] * 8, options=BOTH), timeout=1e-4)
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(METHOD)(b"\x0a\xff" + CANARY.encode())  # type: ignore[arg-type]
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    metadata = (("x-request-id", f"{CANARY} {KNOWN}"), ("baggage", f"a={CANARY}"))
    stub.Explain(request(inputs=[text]), metadata=metadata)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    ("protocol", "collecting"), [("grpc", grpc_collector), ("http", http_collector)]
)
def test_no_text_leaves_by_metrics_log_or_traces(
    watched_directory: Path,
    protocol: str,
    collecting: Callable[[], AbstractContextManager[Collector]],
    log_format: str,
) -> None:
    with collecting() as collector:
        with (
            running_server(
                watched_directory,
                log_level="DEBUG",
                log_format=log_format,
                trace_endpoint=collector.endpoint,
                trace_protocol=protocol,
            ) as server,
            grpc.insecure_channel(server.grpc_target) as channel,
        ):
            say_everything(channel)
            metrics = scrape(server.metrics_url)
            status, log = server.terminate()
        assert status == 0, log
        spans = collector.spans
        told = [metrics, log, *map(repr, collector.exports)]
    assert not [text for text in told if CANARY in text or KNOWN in text]
    names = {span.name for span in spans}
    stages = {"tokenize", "queue", "infer", "verify", "decode"}
    assert names == stages | {"diffmask.v1.Explainer/Explain"}
    assert {field.key for span in spans for field in span.attributes} == SPAN_FIELDS
    if log_format == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        access = [line for line in lines if "method" in line]
        assert {name for line in access for name in line} == LOG_FIELDS
        assert {line["code"] for line in access} >= {"OK", "NOT_FOUND"}
