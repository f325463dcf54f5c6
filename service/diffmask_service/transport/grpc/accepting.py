"""Start a gRPC server whose accept loop no caller can end.

gRPC's asyncio server decodes the path of a call as strict UTF-8 in the loop that
accepts calls, where an error ends the loop (grpcio 1.85.1, `_server_main_loop`). One
call with another path, from anybody who reaches the port, before any interceptor, would
leave a process that lives and refuses every connection.

The loop is compiled, and nothing of ours sees the path before it. But Python asks a
handler what to do about bytes that cannot be decoded, also where the answer is nearly
always to raise: the handler `strict`, which may be replaced. Ours raises as before,
except in the tasks of the accept loops, where it puts U+FFFD. No method has that in its
path, so the caller hears UNIMPLEMENTED.

Should a Python or a gRPC to come not ask any more, the process ends at once: to listen
anew in the same process was tried, and gRPC frees what its core still uses. Whoever
supervises the process then starts it afresh.

Headers that are not UTF-8 gRPC reads as Latin-1, and logs each as an error with all its
bytes. Those are the caller's, who may have meant a secret, and nothing is wrong here:
it is not logged.

When the last of gRPC's asyncio objects goes, gRPC joins the thread that polls for them,
on the event loop, and for ever if the operation of some call never ends (seen once, as
a server stopped). So the thread is kept: it is a daemon, and ends with the process.
"""

import asyncio
import codecs
import logging
import os

import grpc

_LOG = logging.getLogger(__name__)
_LOG_OF_GRPC = logging.getLogger("grpc._cython.cygrpc")
_STATUS = 1
_TASK = "diffmask-accept"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


async def start(server: grpc.aio.Server) -> None:
    """Let a server answer, and keep the loop in which it accepts calls alive.

    Args:
        server: One that holds its port.
    """
    grpc.aio.init_grpc_aio()
    codecs.register_error("strict", _strict_but_for_paths)
    _LOG_OF_GRPC.addFilter(_is_no_callers_spelling)
    before = asyncio.all_tasks()
    await server.start()
    # gRPC does not say which of its tasks accepts calls; no other decodes anything.
    for task in asyncio.all_tasks() - before:
        task.set_name(_TASK)
        task.add_done_callback(_look_at)


def _strict_but_for_paths(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError) and _is_accepting():
        return _REPLACEMENT, error.end
    raise error


def _is_no_callers_spelling(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, UnicodeDecodeError)


def _is_accepting() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # a thread without an event loop
        return False
    return task is not None and task.get_name() == _TASK


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
