"""How many requests fail while versions are swapped and servers are restarted.

First one server with a repository gets a new version again and again, then two servers
behind a client that spreads its calls are restarted in turn. Callers never pause. They
try a call again by the published policy, without which one may meet a server in the
very moment in which it closes its door.
"""

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.client.retries import RETRY_POLICY
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc

_ANNOUNCEMENT = "ready: gRPC on "
_TEXT = "A fast , funny , highly enjoyable movie ."
# The published policy, and what a client of several servers adds to it.
_POLICY = RETRY_POLICY | {
    "loadBalancingConfig": [{"round_robin": {}}],
    # Without it, calls still go to a server that says it is stopping.
    "healthCheckConfig": {"serviceName": "diffmask.v1.Explainer"},
}
# A server that is back is found again within a second, not within the two minutes that
# gRPC may otherwise wait.
_OPTIONS = (
    ("grpc.service_config", json.dumps(_POLICY)),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_SECONDS_TO_BE_FOUND = 3.0
_CALLS_PER_VERSION = 50


@dataclass(slots=True)
class Tally:
    """What became of the calls.

    Attributes:
        answered: Calls by the version that answered.
        failed: Calls by the name of their status.
    """

    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    _counted: threading.Condition = field(default_factory=threading.Condition)

    def count(self, counter: Counter[str], key: str) -> None:
        """Count one call; from any thread."""
        with self._counted:
            counter[key] += 1
            self._counted.notify_all()

    def wait_for_calls(self, num_calls: int) -> None:
        """Wait until so many more have ended."""
        with self._counted:
            enough = self._total() + num_calls
            self._counted.wait_for(lambda: self._total() >= enough)

    def _total(self) -> int:
        return self.answered.total() + self.failed.total()


def main() -> None:
    """Swap and restart under load, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--swaps", type=int, default=100, help="[%(default)s]")
    parser.add_argument("--restarts", type=int, default=20, help="[%(default)s]")
    parser.add_argument("--callers", type=int, default=4, help="[%(default)s]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        repository = Repository(arguments.bundle, Path(work))
        if arguments.swaps:
            tally = _swap(repository, arguments.swaps, num_callers=arguments.callers)
            _print(f"{arguments.swaps} swaps", tally)
        if arguments.restarts:
            repository.put(arguments.swaps + 2)
            tally = _restart(
                repository, arguments.restarts, num_callers=arguments.callers
            )
            _print(f"{arguments.restarts} restarts", tally)


class Repository:
    """Versions of one bundle, put in place by renaming.

    Args:
        bundle: What every version is a copy of.
        work: Where the repository goes.
    """

    def __init__(self, bundle: Path, work: Path) -> None:
        self._bundle = bundle
        self._work = work
        self._manifest = json.loads((bundle / "manifest.json").read_bytes())
        self.model = self._manifest["id"]
        self.root = work / "models"
        (self.root / self.model).mkdir(parents=True)

    def put(self, version: int) -> None:
        """Put a version in place, and take those before its forerunner away."""
        staged = self._work / f"staged-{version}"
        shutil.copytree(self._bundle, staged)
        manifest = self._manifest | {"version": str(version)}
        (staged / "manifest.json").write_text(json.dumps(manifest))
        folder = self.root / self.model
        for old in [each for each in folder.iterdir() if int(each.name) < version - 1]:
            shutil.rmtree(old.rename(self._work / f"old-{old.name}"))
        staged.rename(folder / str(version))


def _swap(repository: Repository, num_swaps: int, *, num_callers: int) -> Tally:
    repository.put(1)
    with _server(repository) as (process, target), _load([target], num_callers) as load:
        for version in range(2, num_swaps + 2):
            repository.put(version)
            process.send_signal(signal.SIGHUP)
            _wait_until_serving(target, f"{repository.model}/{version}")
            load.wait_for_calls(_CALLS_PER_VERSION)
    return load


def _restart(repository: Repository, num_restarts: int, *, num_callers: int) -> Tally:
    ports = [_free_port(), _free_port()]
    with ExitStack() as stack:
        servers = [stack.enter_context(_Replica(repository, port)) for port in ports]
        targets = [server.target for server in servers]
        with _load(targets, num_callers) as load:
            for number in range(num_restarts):
                servers[number % 2].restart()
                time.sleep(_SECONDS_TO_BE_FOUND)
    return load


class _Replica:
    """A server that can be stopped and started again at the same address."""

    def __init__(self, repository: Repository, port: int) -> None:
        self._repository = repository
        self._port = port
        self._stack = ExitStack()
        self.target = f"127.0.0.1:{port}"

    def __enter__(self) -> "_Replica":
        self._process, _ = self._stack.enter_context(
            _server(self._repository, port=self._port)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def restart(self) -> None:
        """Stop it as a platform does, and start it again."""
        self._process.terminate()
        if self._process.wait() != 0:
            raise SystemExit("a server did not end well; its own message is above")
        self._stack.close()
        self.__enter__()


@contextmanager
def _server(
    repository: Repository, *, port: int = 0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "diffmask_service", "serve", "--metrics-port=0"]
    flags = [f"--repository={repository.root}", f"--grpc-port={port}"]
    with subprocess.Popen(
        [*command, *flags, "--log-level=ERROR"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise AssertionError("the process was started with a pipe")
            line = process.stdout.readline()
            if not line.startswith(_ANNOUNCEMENT):
                raise SystemExit("the server did not start; its own message is above")
            yield process, line.removeprefix(_ANNOUNCEMENT).partition(",")[0]
        finally:
            process.terminate()


@contextmanager
def _load(targets: Sequence[str], num_callers: int) -> Iterator[Tally]:
    """Call from several threads without a pause; the tally is whole at the end."""
    tally, is_over = Tally(), threading.Event()
    request = explain_pb2.ExplainRequest(inputs=[explain_pb2.TextInput(text=_TEXT)])

    def call(stub: explain_pb2_grpc.ExplainerStub) -> None:
        while not is_over.is_set():
            try:
                version = stub.Explain(request, timeout=60).model.version
            except grpc.RpcError as error:
                tally.count(tally.failed, error.code().name)
            else:
                tally.count(tally.answered, version)

    with grpc.insecure_channel(f"ipv4:{','.join(targets)}", _OPTIONS) as channel:
        stub = explain_pb2_grpc.ExplainerStub(channel)
        threads = [
            threading.Thread(target=call, args=(stub,)) for _ in range(num_callers)
        ]
        for thread in threads:
            thread.start()
        try:
            yield tally
        finally:
            is_over.set()
            for thread in threads:
                thread.join()


def _wait_until_serving(target: str, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    with grpc.insecure_channel(target) as channel:
        for reply in health_pb2_grpc.HealthStub(channel).Watch(request):
            if reply.status == health_pb2.HealthCheckResponse.SERVING:
                return


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _print(name: str, tally: Tally) -> None:
    failed = ", ".join(f"{count} {code}" for code, count in tally.failed.items())
    print(
        f"{name}: {tally.answered.total()} requests answered by"
        f" {len(tally.answered)} versions, {tally.failed.total()} failed"
        f" {f'({failed})' if failed else ''}"
    )


if __name__ == "__main__":
    main()
