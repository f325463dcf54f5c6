"""A real server in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_READY = re.compile(
    r"ready: gRPC on (?P<grpc>\S+), metrics on (?P<metrics>[^\s,]+)"
    r"(, health on (?P<health>[^\s,]+))?(, console on (?P<console>\S+))?\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: Its process.
        log: What it writes beside its output.
        grpc_target: What a gRPC client connects to.
        metrics_url: Where its metrics are.
        health_target: What a probe connects to, where that is another port.
        console_url: Where its console is; empty without one.
    """

    process: subprocess.Popen[str]
    log: "_Log"
    grpc_target: str
    metrics_url: str
    health_target: str
    console_url: str = ""

    def terminate(self) -> tuple[int, str]:
        """Ask it to stop; return its exit status and its log."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(), self.log.whole()


class _Log:
    """A log that is read while it is written: a full pipe would stop the writer."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def whole(self) -> str:
        """Wait for its end and return all of it."""
        self._reader.join()
        return "".join(self._lines)

    def _read(self, stream: IO[str]) -> None:
        self._lines.extend(stream)


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
    with announced_server(launch(bundle, **flags)) as server:
        yield server


@contextmanager
def announced_server(process: subprocess.Popen[str]) -> Iterator[ServerProcess]:
    """Wait until a server is ready that was started, and see that it goes."""
    assert process.stdout is not None
    assert process.stderr is not None
    log = _Log(process.stderr)
    try:
        ready = _READY.fullmatch(process.stdout.readline())
        if ready is None:
            raise AssertionError(log.whole())
        yield ServerProcess(
            process=process,
            log=log,
            grpc_target=ready["grpc"],
            metrics_url=ready["metrics"],
            health_target=ready["health"] or "",
            console_url=ready["console"] or "",
        )
    finally:
        process.kill()
        process.wait()
        log.whole()
        process.stdout.close()
        process.stderr.close()
