"""How long the console's listener waits for a browser, and for how many at a time."""

import http.client
import socket
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

        def started(**settings: float) -> ConsoleServer:
            server = ConsoleServer(
                PlainTextResponse("here"),
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
