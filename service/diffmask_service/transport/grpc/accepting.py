"""Start a gRPC server, and end the process should it go deaf.

gRPC's asyncio server decodes the path of a call as strict UTF-8 in the loop that
accepts calls (grpcio 1.85.1, `_server_main_loop`). One call with another path, from
anybody who reaches the port, before any interceptor, ends that loop: the process lives
on, its liveness unasked, and refuses every connection. To listen anew in the same
process was tried: gRPC frees what its core still uses, and a segmentation fault
follows. So the process ends at once, and whoever supervises it starts it afresh. Only
what stands in front, a proxy that checks paths or mutual TLS, keeps such calls out.
"""

import asyncio
import logging
import os

import grpc

_LOG = logging.getLogger(__name__)
_STATUS = 1


async def start(server: grpc.aio.Server) -> None:
    """Let a server answer, and watch the loop in which it accepts calls.

    Args:
        server: One that holds its port.
    """
    before = asyncio.all_tasks()
    await server.start()
    # gRPC does not say which of its tasks accepts calls; no other decodes anything.
    for task in asyncio.all_tasks() - before:
        task.add_done_callback(_look_at)


def _look_at(task: "asyncio.Task[object]") -> None:
    if task.cancelled() or not isinstance(task.exception(), UnicodeDecodeError):
        return
    _LOG.critical(
        "a call whose path is not UTF-8 has ended gRPC's accept loop (%s); ending the"
        " process, to be started afresh",
        task.exception(),
    )
    logging.shutdown()
    # Nothing is drained or freed: gRPC's memory is not sound any more.
    os._exit(_STATUS)
