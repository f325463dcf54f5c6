"""How long the console's listener waits for a browser, and for how many at a time."""

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from starlette.responses import PlainTextResponse

from diffmask_service.transport.http.console.listener import ConsoleServer
from tests.support.drip import is_cut_off

Start = Callable[..., ConsoleServer]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def started(content: str = "here", **settings: float) -> ConsoleServer:
            server = ConsoleServer(
                PlainTextResponse(content),
                host="127.0.0.1",
                port=0,
                max_header_bytes=16_384,
                **settings,  # type: ignore[arg-type]
            ).start()
            stack.callback(server.stop)
            return server

        yield started


def connect(server: ConsoleServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port))


def ask(connection: http.client.HTTPConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()


def ask_until_there_is_room(server: ConsoleServer) -> bytes:
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/")
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status == 200:
            return content
        time.sleep(0.05)
    return b""


def test_a_silent_client_is_cut_off(start: Start) -> None:
    with connect(start(arrival_seconds=0.2)) as client:
        client.settimeout(60.0)
        assert client.recv(1) == b""


def test_a_client_that_sends_drop_by_drop_is_cut_off(start: Start) -> None:
    with connect(start(arrival_seconds=0.2)) as client:
        assert is_cut_off(client, sent_first=b"GET / HTTP/1.1\r\nX-Slow: ")


def test_a_request_in_two_pieces_is_answered_and_another_after_it(
    start: Start,
) -> None:
    with connect(start()) as client, client.makefile("rb") as answers:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\n")
            client.sendall(b"Host: here\r\n\r\n")
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            while answers.readline() != b"\r\n":
                pass
            assert answers.read(4) == b"here"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_takes_no_answer_is_cut_off(start: Start, version: str) -> None:
    # More than the buffers of the two ends hold; and room for this client alone.
    server = start("x" * 30_000_000, max_connections=2, taking_seconds=0.2)
    with connect(server) as client:
        client.sendall(f"GET / HTTP/{version}\r\nHost: here\r\n\r\n".encode())
        # Until then, nobody else finds room.
        assert client.recv(4) == b"HTTP"
        assert ask_until_there_is_room(server).startswith(b"x")


def test_a_long_answer_is_given_to_who_takes_it(start: Start) -> None:
    server = start("x" * 30_000_000, taking_seconds=60.0)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    assert len(ask(connection)) == 30_000_000
    connection.close()


def test_a_crowd_is_turned_away_and_room_comes_back(start: Start) -> None:
    server = start(max_connections=2)
    # With as many as may be, Uvicorn itself answers that there are too many.
    with connect(server), connect(server), connect(server) as late:
        late.settimeout(8.0)  # one that is let in may be silent for 10 seconds
        with suppress(ConnectionError):
            assert late.recv(1) == b""
    answer = b""
    while answer != b"here":
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with suppress(ConnectionError, http.client.HTTPException):
            answer = ask(connection)
        connection.close()
