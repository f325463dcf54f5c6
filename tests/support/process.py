"""A real server in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY = re.compile(
    r"ready: gRPC on (?P<grpc>\S+), metrics on (?P<metrics>[^\s,]+)"
    r"(, health on (?P<health>\S+))?\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: Its process.
        grpc_target: What a gRPC client connects to.
        metrics_url: Where its metrics are.
        health_target: What a probe connects to, where that is another port.
    """

    process: subprocess.Popen[str]
    grpc_target: str
    metrics_url: str
    health_target: str

    def terminate(self) -> tuple[int, str]:
        """Ask it to stop; return its exit status and its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate()
        return self.process.returncode, log


def launch(bundle: Path | None, **flags: object) -> subprocess.Popen[str]:
    """Start a server on ports that the system chooses, and do not wait for it."""
    settings = {
        "bundle": bundle,
        "grpc_port": 0,
        "metrics_port": 0,
        "health_port": 0,
    } | flags
    arguments = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in settings.items()
        if value is not None
    ]
    environment = {k: v for k, v in os.environ.items() if k[:9] != "DIFFMASK_"}
    return subprocess.Popen(
        [sys.executable, "-m", "diffmask_service", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextmanager
def running_server(bundle: Path | None, **flags: object) -> Iterator[ServerProcess]:
    """Start a server, wait until it is ready, and see that it is gone afterwards."""
    process = launch(bundle, **flags)
    try:
        assert process.stdout is not None
        ready = _READY.fullmatch(process.stdout.readline())
        if ready is None:
            raise AssertionError(process.communicate()[1])
        yield ServerProcess(
            process=process,
            grpc_target=ready["grpc"],
            metrics_url=ready["metrics"],
            health_target=ready["health"] or "",
        )
    finally:
        process.kill()
        process.communicate()
