"""Our explanations against another server's plain predictions, in one paired run.

The same graph, cut at its logits for the other, the same tokenizer, one thread a run
and as many workers: LitServe predicts over HTTP, ours predicts and explains over gRPC.
Both run at once and are asked in turn, so that they meet the same machine; callers wait
for their answers.

LitServe wants an environment of its own:

    python -m venv peers
    peers/bin/pip install litserve onnxruntime tokenizers
    python -m benchmarks.others --bundle BUNDLE --python peers/bin/python
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import running
from benchmarks.traffic.plan import draw_text
from diffmask_service.bundle import cut_graph, read_bundle
from diffmask_service.client import Client
from diffmask_service.core.predictions import LabelPrediction

_PEERS = Path(__file__).parent / "peers"
_TOLERANCE = 1e-3
_START_SECONDS = 180.0
_OURS = "ours, with explanations"

# One call with one text, to its logits.
Ask = Callable[[str], Sequence[float]]


def main() -> None:
    """Start every server, ask them in turn, and print the rates."""
    arguments = _parse()
    with ExitStack() as stack:
        figures = measure(_start_all(arguments, stack), arguments)
    print("\n".join(describe(figures)))
    store("others", figures, arguments=arguments)


def measure(
    asks: Mapping[str, Callable[[], Ask]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return the texts a second of every server, and ours over each of the others.

    Args:
        asks: By name, what makes one caller of a server.
        arguments: Rounds, callers, texts of a round.
    """
    generator = np.random.default_rng(0)
    texts = [draw_text(generator) for _ in range(arguments.texts)]
    _check_agreement({name: make() for name, make in asks.items()}, texts[0])
    rates: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(arguments.rounds):
        for name, make in asks.items():
            rates[name].append(_rate(make, texts, callers=arguments.callers))
    ratios = {
        name: statistics.median(
            ours / other for ours, other in zip(rates[_OURS], rates[name], strict=True)
        )
        for name in asks
    }
    return {
        name: {
            "texts_per_second": statistics.median(rates[name]),
            "ours_over_it": ratio,
        }
        for name, ratio in ratios.items()
    }


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [[name, *each.values()] for name, each in figures.items()]
    return table(["server", "texts/s", "ours over it"], rows)


def _start_all(
    arguments: argparse.Namespace, stack: ExitStack
) -> dict[str, Callable[[], Ask]]:
    workers = len(os.sched_getaffinity(0))
    server = stack.enter_context(running(arguments.bundle, log_level="WARNING"))
    asks: dict[str, Callable[[], Ask]] = {_OURS: lambda: _our_ask(server.target)}
    work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    _write_graph(arguments.bundle, work)
    port = _free_port()
    command = [str(_PEERS / "litserve_server.py"), str(work), str(port), str(workers)]
    stack.enter_context(
        _peer([str(arguments.python), *command], url=f"http://127.0.0.1:{port}/health")
    )
    asks["LitServe, predictions"] = lambda: _http_ask(
        port,
        "/predict",
        write=lambda text: {"text": text},
        read=lambda answer: answer["logits"],
    )
    return asks


def _write_graph(bundle_directory: Path, work: Path) -> None:
    bundle = read_bundle(bundle_directory)
    manifest = bundle.manifest
    graph = cut_graph(bundle.graph(manifest.default_graph), ("logits",))
    (work / "model.onnx").write_bytes(graph)
    (work / "tokenizer.json").write_bytes(
        (bundle_directory / "tokenizer.json").read_bytes()
    )
    settings = {"inputs": list(manifest.inputs), "max_tokens": manifest.max_tokens}
    (work / "peer.json").write_text(json.dumps(settings))


@contextmanager
def _peer(command: Sequence[str], *, url: str) -> Iterator[None]:
    environment = os.environ | {"PYTHONPATH": str(_PEERS)}
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            if not _is_ready(url, process):
                raise RuntimeError(Path(log.name).read_text()[-2000:])
            yield
        finally:
            # With its workers, which are processes of their own.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
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


def _our_ask(target: str) -> Ask:
    client = Client(target)

    def ask(text: str) -> Sequence[float]:
        prediction = client.explain_one(text, truncate=True).prediction
        if not isinstance(prediction, LabelPrediction):
            raise TypeError("only classifiers are compared")
        return [float(value) for value in prediction.logits]

    return ask


def _http_ask(
    port: int,
    path: str,
    *,
    write: Callable[[str], object],
    read: Callable[[Any], Sequence[float]],
) -> Ask:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Content-Type": "application/json"}

    def ask(text: str) -> Sequence[float]:
        connection.request("POST", path, json.dumps(write(text)), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{path} answered {answer.status}: {body[:200]!r}")
        return read(json.loads(body))

    return ask


def _check_agreement(asks: Mapping[str, Ask], text: str) -> None:
    ours = np.array(asks[_OURS](text))
    for name, ask in asks.items():
        difference = float(abs(np.array(ask(text)) - ours).max())
        if difference > _TOLERANCE:
            raise RuntimeError(f"{name} gives other logits, by {difference}")


def _rate(make: Callable[[], Ask], texts: Sequence[str], *, callers: int) -> float:
    shares = [texts[number::callers] for number in range(callers)]
    asks = [make() for _ in shares]
    for ask in asks:
        ask(texts[0])  # opens the connection

    def ask_all(place: int) -> None:
        for text in shares[place]:
            asks[place](text)

    with ThreadPoolExecutor(callers) as pool:
        began = time.perf_counter()
        list(pool.map(ask_all, range(callers)))
        return len(texts) / (time.perf_counter() - began)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--python", type=Path, required=True, help="of the others' environment"
    )
    parser.add_argument("--rounds", type=int, default=5, help="[%(default)s]")
    parser.add_argument("--texts", type=int, default=400, help="[%(default)s]")
    parser.add_argument("--callers", type=int, default=8, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
