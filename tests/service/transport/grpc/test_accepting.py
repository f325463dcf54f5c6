"""Calls whose path is not UTF-8, which gRPC's own accept loop does not survive."""

import asyncio
import codecs
import socket
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest

from benchmarks.fuzzing.frames import PREFACE, SETTINGS, frame, whole_call
from diffmask_service.transport.grpc import accepting

BAD_CALL = PREFACE + frame(SETTINGS) + whole_call(1, "/\xff/x", b"")
# Only the end of a process can show it; the log goes to standard error.
DEAF = f"""
import asyncio, codecs, socket
import grpc
from diffmask_service.transport.grpc import accepting

async def main():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await accepting.start(server)
    codecs.register_error("strict", codecs.strict_errors)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall({BAD_CALL!r})
        await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def strict_as_before() -> Iterator[None]:
    yield
    codecs.register_error("strict", codecs.strict_errors)


async def test_bytes_that_are_not_utf8_raise_everywhere_else() -> None:
    server = grpc.aio.server()
    server.add_insecure_port("127.0.0.1:0")
    await accepting.start(server)
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode()
    with pytest.raises(UnicodeEncodeError):
        "\ud800".encode()
    with pytest.raises(UnicodeDecodeError):
        await asyncio.to_thread(b"\xff".decode)
    await server.stop(None)


async def test_the_loop_goes_on_accepting() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await accepting.start(server)

    def call() -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(BAD_CALL)
            received = b""
            while b"Method not found" not in received:
                chunk = connection.recv(4096)
                assert chunk, "the server closed the connection"
                received += chunk
        return received

    for _ in range(2):
        assert b"grpc-status\x0212" in await asyncio.to_thread(call)
    await server.stop(None)


async def test_headers_that_are_not_utf8_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    read: list[tuple[str, str | bytes]] = []

    async def echo(
        request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> bytes:
        read.extend((key, value) for key, value in context.invocation_metadata() or ())
        return request

    method: grpc.RpcMethodHandler[bytes, bytes]
    method = grpc.unary_unary_rpc_method_handler(echo)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Echo", {"Echo": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await accepting.start(server)
    call = whole_call(1, "/test.Echo/Echo", b"", ("x-secret", "canary\xff"))

    def send() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(PREFACE + frame(SETTINGS) + call)
            received = b""
            while b"grpc-status" not in received:
                received += connection.recv(4096)

    await asyncio.to_thread(send)
    assert ("x-secret", "canary\xff") in read
    assert "canary" not in caplog.text
    await server.stop(None)


def test_a_loop_that_ends_all_the_same_ends_the_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DEAF], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "path is not UTF-8 has ended gRPC's accept loop" in ended.stderr
