"""What a server costs over the bare engine: CPU seconds a text, over loopback.

A server process answers gRPC calls with all gates; its CPU time comes from the system's
accounting of that process. The bare engine is the same graph, opened with one thread
as the service opens it, run on the same token ids in this process: no tokenizer, no
decoding, no protocol. The two take turns.

The bare engine runs each text alone for calls of one text, and for larger calls in the
very groups that the service forms.
"""

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from diffmask_service.bundle import Bundle, read_bundle
from diffmask_service.client import Client
from diffmask_service.core.batching import GROUP_TOKENS, Shape, UnpaddedBatches

_OUTPUTS = ["logits", "input_gates", "hidden_gates"]
_WORD = "movie"
_PROC = Path("/proc")


def main() -> None:
    """Measure every size of call and print one table."""
    arguments = _parse()
    bundle = read_bundle(arguments.bundle)
    text = " ".join([_WORD] * (arguments.tokens - 2))
    with Server(arguments.bundle) as server, Client(server.target) as client:
        print(
            f"{arguments.tokens} tokens, {bundle.manifest.default_graph}, ONNX Runtime"
            f" {onnxruntime.__version__}, medians of {arguments.rounds} rounds"
        )
        print(f"{'texts a call':>12} | {'bare':>8} {'server':>8} CPU s a text | ratio")
        for batch in arguments.batches:
            calls = max(1, arguments.texts // batch)
            bare = _bare(bundle, text, batch=batch)
            texts = [text] * batch

            def ask(texts: Sequence[str] = texts) -> object:
                return client.explain(texts)

            ask()
            rounds = [
                (
                    _spent(bare, calls, _own_seconds) / calls / batch,
                    _spent(ask, calls, server.cpu_seconds) / calls / batch,
                )
                for _ in range(arguments.rounds)
            ]
            ratio = statistics.median(served / alone for alone, served in rounds)
            alone, served = (
                statistics.median(each) for each in zip(*rounds, strict=True)
            )
            print(
                f"{batch:>12} | {alone:>8.5f} {served:>8.5f}              | {ratio:.3f}"
            )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--bundle", type=Path, required=True, help="of texts, not pairs"
    )
    parser.add_argument(
        "--tokens", type=int, default=32, help="of a text [%(default)s]"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 32))
    parser.add_argument(
        "--texts", type=int, default=128, help="in each round [%(default)s]"
    )
    parser.add_argument("--rounds", type=int, default=7, help="[%(default)s]")
    return parser.parse_args()


class Server:
    """A server process on a free port of loopback.

    Attributes:
        target: Where it listens.
    """

    def __init__(self, bundle: Path) -> None:
        ports = [_free_port(), _free_port()]
        self.target = f"127.0.0.1:{ports[0]}"
        command = [sys.executable, "-m", "diffmask_service", "serve"]
        settings = ["--workers", "1", "--device", "cpu", "--log-level", "INFO"]
        places = ["--grpc-port", str(ports[0]), "--metrics-port", str(ports[1])]
        self._process = subprocess.Popen(
            [*command, "--bundle", str(bundle), *settings, *places],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Server":
        """Wait until it answers."""
        deadline = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return what the process has used so far, all threads, seconds."""
        # The name of the program, in brackets, may hold spaces.
        text = (_PROC / str(self._process.pid) / "stat").read_text()
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        with Client(self.target, timeout_seconds=1.0) as client:
            try:
                return client.check_health()
            except Exception:  # noqa: BLE001 - not yet
                return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _own_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _spent(call: Callable[[], object], times: int, clock: Callable[[], float]) -> float:
    before = clock()
    for _ in range(times):
        call()
    return clock() - before


def _bare(bundle: Bundle, text: str, *, batch: int) -> Callable[[], object]:
    from tokenizers import Tokenizer  # noqa: PLC0415 - for this alone

    tokenizer = Tokenizer.from_str(bundle.files["tokenizer.json"].decode())
    ids = np.array(tokenizer.encode(text).ids, dtype=np.int64)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(
        bundle.graph(bundle.manifest.default_graph),
        options,
        providers=["CPUExecutionProvider"],
    )
    room = GROUP_TOKENS if bundle.manifest.default_graph in {"fp32", "w8"} else 0
    policy = UnpaddedBatches(max_group_tokens=room)
    waiting = [Shape(num_tokens=len(ids), fetches=())] * batch
    runs = []
    while waiting:
        size = len(policy.cut(waiting))
        waiting = waiting[size:]
        runs.append(_feeds(np.tile(ids, (size, 1)), bundle.manifest.inputs))
    return lambda: [session.run(_OUTPUTS, feeds) for feeds in runs]


def _feeds(ids: Any, inputs: Sequence[str]) -> dict[str, Any]:
    feeds = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
        "keep": np.ones(ids.shape, dtype=np.float32),
    }
    return {name: feeds[name] for name in inputs}


if __name__ == "__main__":
    main()
