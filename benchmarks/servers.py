"""Servers in processes of their own, and what they count."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

_READY = re.compile(
    r"ready: gRPC on (?P<grpc>[^\s,]+), metrics on (?P<metrics>[^\s,]+)"
)
_LOGGED = re.compile(r"\bid=(?P<id>\S+) method=.* seconds=(?P<seconds>[\d.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server.

    Attributes:
        process: Its process.
        target: What a gRPC client connects to.
        metrics_url: Where its metrics are.
        log: Its standard error stream, a file.
    """

    process: subprocess.Popen[str]
    target: str
    metrics_url: str
    log: Path

    @property
    def port(self) -> int:
        """The port of gRPC."""
        return int(self.target.rpartition(":")[2])

    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process without a chance to say goodbye."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask the process to stop, and do not wait."""
        self.process.send_signal(signal.SIGTERM)

    def resident_bytes(self) -> int:
        """Return the memory that the process holds now, bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the system does not tell the memory of a process")

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process so far, all threads, seconds."""
        # Fields 14 and 15 of the whole line; the name before them may hold spaces.
        line = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = line.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    async def counters(self) -> "Counter[str]":
        """Return every counter by name, added up over its labels."""
        return await asyncio.to_thread(read_counters, self.metrics_url)


def count_log_bytes(log: Path) -> int:
    """Return how much a server has logged so far, bytes."""
    return log.stat().st_size


def read_handling_seconds(log: Path, *, after_bytes: int = 0) -> dict[str, float]:
    """Return how long the server took over each call, seconds, by its identity.

    Args:
        log: Of a server that logs every call as text.
        after_bytes: Where to begin.
    """
    with log.open("rb") as lines:
        lines.seek(after_bytes)
        found = map(_LOGGED.search, lines.read().decode().splitlines())
        return {each["id"]: float(each["seconds"]) for each in found if each}


def read_counters(url: str) -> "Counter[str]":
    """Return every counter behind a URL by name, added up over its labels."""
    with urllib.request.urlopen(url) as answer:
        return add_up_counters(answer.read().decode())


def add_up_counters(exposition: str) -> "Counter[str]":
    """Return every counter of a Prometheus text by name, added up over its labels.

    A counter with a label `grpc_code` is also there by name and code, such as
    `grpc_server_handled_total:OK`.
    """
    totals: Counter[str] = Counter()
    for family in text_string_to_metric_families(exposition):
        if family.type != "counter":
            continue
        for sample in family.samples:
            if not sample.name.endswith("_total"):
                continue
            totals[sample.name] += int(sample.value)
            if "grpc_code" in sample.labels:
                code = sample.labels["grpc_code"]
                totals[f"{sample.name}:{code}"] += int(sample.value)
    return totals


@contextmanager
def running(
    bundle: Path | None, *, cores: str = "", **settings: object
) -> Iterator[Server]:
    """Start a server, wait until it is ready, and see that it is gone afterwards.

    Args:
        bundle: What it serves; None where the settings name a repository.
        cores: Cores that it may use, as `taskset` writes them; empty for all.
        settings: Of the server, by the names of its fields.

    Raises:
        RuntimeError: It did not start; the message is its log.
    """
    flags: dict[str, object] = {"grpc_port": 0, "metrics_port": 0} | settings
    if bundle is not None:
        flags["bundle"] = bundle
    command = [sys.executable, "-m", "diffmask_service", "serve"]
    command += [f"--{name.replace('_', '-')}={flags[name]}" for name in flags]
    environment = {k: v for k, v in os.environ.items() if k[:9] != "DIFFMASK_"}
    # A file: a pipe that nobody empties would one day stop the server.
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *command] if cores else command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        try:
            if process.stdout is None:
                raise AssertionError("the process was started with a pipe")
            ready = _READY.search(process.stdout.readline())
            if ready is None:
                process.wait()
                raise RuntimeError(Path(log.name).read_text())
            yield Server(
                process=process,
                target=ready["grpc"],
                metrics_url=ready["metrics"],
                log=Path(log.name),
            )
        finally:
            process.kill()
            process.communicate()
