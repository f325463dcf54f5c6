"""Servers of the same graph, ours and others', as `others` asks them.

Each takes one text a call and answers with its logits. Callers do as little as they can
beside that, since they share the machine with the server: over gRPC they are plain
stubs. Of the others every one runs in an environment of its own, out of the modules in
`peers`.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.servers import running
from diffmask_service.bundle import cut_graph, read_bundle
from diffmask_service.wire.inference import messages as pb
from diffmask_service.wire.pb import explain_pb2

_PEERS = Path(__file__).parent / "peers"
_START_SECONDS = 180.0

# One call with one text, to its logits.
Ask = Callable[[str], Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A running server.

    Attributes:
        name: What a table calls it.
        connect: Makes one caller, with a connection of its own.
        pid: Its process, which may have children.
    """

    name: str
    connect: Callable[[], AbstractContextManager[Ask]]
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time of its processes so far, seconds."""
        ticks = sum(
            int(ticks)
            for pid in _family(self.pid)
            for ticks in _fields(Path(f"/proc/{pid}/stat"))[11:13]
        )
        return ticks / os.sysconf("SC_CLK_TCK")

    def pause(self) -> None:
        """Stop it, so that another has the machine to itself."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in _family(self.pid):
            os.kill(pid, number)


@contextmanager
def our_server(bundle: Path, *, explains: bool) -> Iterator[Contestant]:
    """Start ours, with its default settings.

    Args:
        bundle: A classifier.
        explains: Whether the gates of both kinds are asked for, or the prediction.
    """
    gates = [explain_pb2.GATE_KIND_INPUT, explain_pb2.GATE_KIND_HIDDEN]
    options = explain_pb2.ExplainOptions(truncate=True, gates=gates if explains else [])

    @contextmanager
    def connect() -> Iterator[Ask]:
        def ask(text: str) -> Sequence[float]:
            request = explain_pb2.ExplainRequest(
                inputs=[explain_pb2.TextInput(text=text)], options=options
            )
            (explanation,) = method(request).explanations
            if bool(explanation.input_gates.values) is not explains:
                raise RuntimeError("our server left gates out, or sent them unasked")
            return list(explanation.prediction.logits)

        with grpc.insecure_channel(server.target) as channel:
            method: grpc.UnaryUnaryMultiCallable[
                explain_pb2.ExplainRequest, explain_pb2.ExplainResponse
            ] = channel.unary_unary(
                "/diffmask.v1.Explainer/Explain",
                explain_pb2.ExplainRequest.SerializeToString,
                explain_pb2.ExplainResponse.FromString,
            )
            yield ask

    with running(bundle, log_level="WARNING") as server:
        what = "explanations" if explains else "predictions"
        yield Contestant(name=f"ours, {what}", connect=connect, pid=server.process.pid)


@contextmanager
def litserve(
    python: Path, directory: Path, *, workers: int, name: str
) -> Iterator[Contestant]:
    """Start LitServe; it is asked over HTTP, which is all it speaks.

    Args:
        python: Of its environment.
        directory: Made by `write_graph`.
        workers: Processes that run the graph.
        name: What a table calls it.
    """
    port = _free_port()
    with _peer(
        [
            str(python),
            str(_PEERS / "litserve_server.py"),
            str(directory),
            str(port),
            str(workers),
        ],
        url=f"http://127.0.0.1:{port}/health",
    ) as pid:
        yield Contestant(name=name, connect=lambda: _ask_over_http(port), pid=pid)


@contextmanager
def mlserver(
    python: Path, directory: Path, *, workers: int, name: str
) -> Iterator[Contestant]:
    """Start MLServer; it is asked over gRPC, by the Open Inference Protocol.

    Args:
        python: Of its environment.
        directory: Made by `write_graph`.
        workers: Processes that run the graph.
        name: What a table calls it.
    """
    grpc_port, *others = (_free_port() for _ in range(3))
    numbers = map(str, (workers, grpc_port, *others))
    with _peer(
        [str(python), str(_PEERS / "mlserver_server.py"), str(directory), *numbers],
        url=f"http://127.0.0.1:{others[0]}/v2/models/peer/ready",
    ) as pid:
        yield Contestant(
            name=name,
            connect=lambda: _ask_by_protocol(f"127.0.0.1:{grpc_port}"),
            pid=pid,
        )


def write_graph(
    bundle_directory: Path, directory: Path, *, disabled_optimizers: Sequence[str] = ()
) -> None:
    """Write the default graph of a bundle as the others run it, cut at its logits.

    Args:
        bundle_directory: Of a classifier.
        directory: Where to.
        disabled_optimizers: What ONNX Runtime is told not to do when it opens it.
    """
    bundle = read_bundle(bundle_directory)
    manifest = bundle.manifest
    graph = cut_graph(bundle.graph(manifest.default_graph), ("logits",))
    (directory / "model.onnx").write_bytes(graph)
    (directory / "tokenizer.json").write_bytes(bundle.files["tokenizer.json"])
    settings = {
        "inputs": list(manifest.inputs),
        "max_tokens": manifest.max_tokens,
        "disabled_optimizers": list(disabled_optimizers),
    }
    (directory / "peer.json").write_text(json.dumps(settings))


@contextmanager
def _peer(command: Sequence[str], *, url: str) -> Iterator[int]:
    # MLServer leaves files where it is started.
    with tempfile.NamedTemporaryFile() as log, tempfile.TemporaryDirectory() as where:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=where)
        try:
            if not _is_ready(url, process):
                raise RuntimeError(Path(log.name).read_text()[-2000:])
            yield process.pid
        finally:
            # With its workers, which are processes of their own.
            for pid in _family(process.pid):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def _is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    # An open port is not enough: workers load the graph after it opens.
    ends = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except OSError:
            time.sleep(0.2)
    return False


@contextmanager
def _ask_over_http(port: int) -> Iterator[Ask]:
    headers = {"Content-Type": "application/json"}

    def ask(text: str) -> Sequence[float]:
        connection.request("POST", "/predict", json.dumps({"text": text}), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"LitServe answered {answer.status}: {body[:200]!r}")
        logits: list[float] = json.loads(body)["logits"]
        return logits

    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        yield ask


@contextmanager
def _ask_by_protocol(target: str) -> Iterator[Ask]:
    def ask(text: str) -> Sequence[float]:
        tensor = pb.ModelInferRequest.InferInputTensor(
            name="text",
            datatype="BYTES",
            shape=[1],
            contents=pb.InferTensorContents(bytes_contents=[text.encode()]),
        )
        request = pb.ModelInferRequest(model_name="peer", inputs=[tensor])
        return list(method(request).outputs[0].contents.fp32_contents)

    with grpc.insecure_channel(target) as channel:
        method: grpc.UnaryUnaryMultiCallable[
            pb.ModelInferRequest, pb.ModelInferResponse
        ] = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            pb.ModelInferRequest.SerializeToString,
            pb.ModelInferResponse.FromString,
        )
        yield ask


def _family(pid: int) -> list[int]:
    # The process, its children, theirs, and so on, of those that still run.
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _fields(path)
        if fields:
            parents[int(path.parent.name)] = int(fields[1])
    family = [pid] if pid in parents else []
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _fields(stat: Path) -> list[str]:
    # From the state on: the name before it may hold spaces. Empty if it has ended.
    try:
        return stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
