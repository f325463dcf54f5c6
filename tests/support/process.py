"""A real server in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Only the start is special: it reports the ports as JSON on the first line.
_SERVE = """
import asyncio, dataclasses, json, os, sys
from diffmask_service.app import serve
from diffmask_service.config import read_config
from diffmask_service.errors import DiffMaskError
from diffmask_service.telemetry import configure_logging

config = read_config(json.loads(sys.argv[1]), os.environ)
configure_logging(config.log_level)
def say(addresses):
    print(json.dumps(dataclasses.asdict(addresses)), flush=True)
try:
    asyncio.run(serve(config, on_ready=say))
except DiffMaskError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: Its process.
        grpc_target: What a gRPC client connects to.
        metrics_url: Where its metrics are.
    """

    process: subprocess.Popen[str]
    grpc_target: str
    metrics_url: str

    def terminate(self) -> tuple[int, str]:
        """Ask it to stop; return its exit status and its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate()
        return self.process.returncode, log


def launch(bundle: Path, **flags: object) -> subprocess.Popen[str]:
    """Start a server on ports that the system chooses, and do not wait for it."""
    values = {"bundle": str(bundle), "grpc_port": 0, "metrics_port": 0} | flags
    environment = {k: v for k, v in os.environ.items() if k[:9] != "DIFFMASK_"}
    return subprocess.Popen(
        [sys.executable, "-c", _SERVE, json.dumps(values)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextmanager
def running_server(bundle: Path, **flags: object) -> Iterator[ServerProcess]:
    """Start a server, wait until it is ready, and see that it is gone afterwards."""
    process = launch(bundle, **flags)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate()[1])
        addresses = json.loads(line)
        host = addresses["host"]
        yield ServerProcess(
            process=process,
            grpc_target=f"{host}:{addresses['grpc_port']}",
            metrics_url=f"http://{host}:{addresses['metrics_port']}/metrics",
        )
    finally:
        process.kill()
        process.communicate()
