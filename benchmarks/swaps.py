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
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.replicas import running_replicas
from benchmarks.results import add_result_flag, store, table
from benchmarks.servers import read_counters, running
from benchmarks.traffic.targets import EXPLAIN
from diffmask_service.client.retries import RETRY_POLICY
from diffmask_service.wire.pb import explain_pb2 as pb

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
_PASSES = "diffmask_forward_passes_total"
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
    """Swap and restart under load, print the counts, and fail if a request did."""
    arguments = _parse()
    with tempfile.TemporaryDirectory() as work:
        repository = Repository(arguments.bundle, Path(work))
        figures = {
            "swaps": swap(repository, arguments.swaps, num_callers=arguments.callers),
            "restarts": restart(
                repository, arguments.restarts, num_callers=arguments.callers
            ),
        }
    print("\n".join(describe(figures)))
    store("swaps", figures, arguments=arguments)
    sys.exit(1 if any(counts["failed"] for counts in figures.values()) else 0)


def describe(figures: Mapping[str, Any]) -> list[str]:
    """Return the figures as lines of Markdown."""
    rows = [
        [
            name,
            counts["done"],
            counts["answered"],
            counts["versions"],
            sum(counts["failed"].values()),
            ", ".join(f"{n} {code}" for code, n in counts["failed"].items()) or "-",
        ]
        for name, counts in figures.items()
    ]
    head = ["what", "times", "answered", "by versions", "failed", "with"]
    return table(head, rows)


class Repository:
    """Versions of one bundle, put in place by renaming.

    Args:
        bundle: What every version is a copy of.
        work: Where the repository goes.

    Attributes:
        model: Id of the model.
        root: Directory of the repository.
        last_version: The newest in place; 0 before the first.
    """

    def __init__(self, bundle: Path, work: Path) -> None:
        self._bundle = bundle
        self._work = work
        self._manifest = json.loads((bundle / "manifest.json").read_bytes())
        self.model = self._manifest["id"]
        self.root = work / "models"
        self.last_version = 0
        (self.root / self.model).mkdir(parents=True)

    def put_next(self) -> str:
        """Put a new version in place, and take those before its forerunner away.

        Returns:
            How the health service calls it.
        """
        self.last_version += 1
        version = self.last_version
        staged = self._work / f"staged-{version}"
        shutil.copytree(self._bundle, staged)
        manifest = self._manifest | {"version": str(version)}
        (staged / "manifest.json").write_text(json.dumps(manifest))
        folder = self.root / self.model
        for old in [each for each in folder.iterdir() if int(each.name) < version - 1]:
            shutil.rmtree(old.rename(self._work / f"old-{old.name}"))
        staged.rename(folder / str(version))
        return f"{self.model}/{version}"


def swap(repository: Repository, times: int, *, num_callers: int = 4) -> dict[str, Any]:
    """Put new versions into the repository of a server under load.

    Args:
        repository: What it serves.
        times: How many, one after the other.
        num_callers: How many call without a pause.
    """
    repository.put_next()
    with (
        running(None, repository=repository.root, log_level="ERROR") as server,
        _load([server.target], num_callers) as load,
    ):
        load.wait_for_calls(_CALLS_PER_VERSION)
        for _ in range(times):
            version = repository.put_next()
            server.process.send_signal(signal.SIGHUP)
            _wait_until_serving(server.target, version)
            load.wait_for_calls(_CALLS_PER_VERSION)
    return _figures(load, times=times)


def restart(
    repository: Repository, times: int, *, num_callers: int = 4
) -> dict[str, Any]:
    """Stop two servers in turn under load, as a platform does, and start them again.

    Args:
        repository: What they serve.
        times: How many stops.
        num_callers: How many call without a pause.

    Raises:
        RuntimeError: A server did not end well.
    """
    repository.put_next()
    with running_replicas(
        None, repository=repository.root, log_level="ERROR"
    ) as replicas:
        targets = [server.target for server in replicas.servers]
        with _load(targets, num_callers) as load:
            for number in range(times):
                place = number % len(targets)
                server = replicas.servers[place]
                server.terminate()
                if server.process.wait() != 0:
                    raise RuntimeError(server.log.read_text())
                metrics_url = replicas.restart(place).metrics_url
                # Until the callers have found it, the other may not go.
                while not read_counters(metrics_url)[_PASSES]:
                    load.wait_for_calls(1)
    return _figures(load, times=times)


def _figures(load: Tally, *, times: int) -> dict[str, Any]:
    return {
        "done": times,
        "answered": load.answered.total(),
        "versions": len(load.answered),
        "failed": dict(load.failed.most_common()),
    }


@contextmanager
def _load(targets: Sequence[str], num_callers: int) -> Iterator[Tally]:
    """Call from several threads without a pause; the tally is whole at the end."""
    tally, is_over = Tally(), threading.Event()
    request = EXPLAIN.write([_TEXT], "explain")

    def call() -> None:
        while not is_over.is_set():
            try:
                reply = method(request, timeout=60)
            except grpc.RpcError as error:
                tally.count(tally.failed, error.code().name)
            else:
                tally.count(tally.answered, reply.model.version)

    with grpc.insecure_channel(f"ipv4:{','.join(targets)}", _OPTIONS) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, pb.ExplainResponse] = (
            channel.unary_unary(EXPLAIN.path, None, pb.ExplainResponse.FromString)
        )
        threads = [threading.Thread(target=call) for _ in range(num_callers)]
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


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--swaps", type=int, default=100, help="[%(default)s]")
    parser.add_argument("--restarts", type=int, default=20, help="[%(default)s]")
    parser.add_argument("--callers", type=int, default=4, help="[%(default)s]")
    add_result_flag(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
