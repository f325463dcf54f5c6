"""What a caller and the operator see of whatever a handler does."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from diffmask_service.errors import (
    DeadlineError,
    DiffMaskError,
    FolderError,
    InferenceError,
    InputTooLong,
    NotFound,
    NotReadyError,
    OverloadedError,
)
from diffmask_service.telemetry import Telemetry
from diffmask_service.telemetry.logs import JsonFormatter
from diffmask_service.transport.grpc.call import CURRENT_CALL
from diffmask_service.transport.grpc.interceptors import CallInterceptor
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc

SERVICE = "diffmask.v1.Explainer"
PATH = f"/{SERVICE}/Explain"
Answer = Callable[[], Awaitable[explain_pb2.ExplainResponse]]


class Scripted(explain_pb2_grpc.ExplainerServicer):
    """Does what the test says."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def Explain(self, request: Any, context: Any) -> explain_pb2.ExplainResponse:  # noqa: N802
        return await self._answer()


@asynccontextmanager
async def calling(
    answer: Answer, telemetry: Telemetry | None = None
) -> AsyncIterator[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]]:
    """A raw method of a server whose handler is the test's."""
    interceptor = CallInterceptor({PATH}, telemetry=telemetry or Telemetry())
    server = grpc.aio.server(interceptors=[interceptor])
    explain_pb2_grpc.add_ExplainerServicer_to_server(Scripted(answer), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.unary_unary(PATH)
    finally:
        await server.stop(None)


def failing(error: BaseException) -> Answer:
    async def answer() -> explain_pb2.ExplainResponse:
        raise error

    return answer


async def empty() -> explain_pb2.ExplainResponse:
    return explain_pb2.ExplainResponse(request_id=CURRENT_CALL.get().request_id)


async def failure(answer: Answer, raw: bytes = b"") -> grpc.aio.AioRpcError:
    async with calling(answer) as call:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(raw)
    return raised.value


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputTooLong("cut it", num_tokens=2, max_tokens=1), "INVALID_ARGUMENT"),
        (NotFound("no such"), "NOT_FOUND"),
        (OverloadedError("full", retry_after_seconds=1.0), "RESOURCE_EXHAUSTED"),
        (NotReadyError("stopping"), "UNAVAILABLE"),
        (DeadlineError("too late"), "DEADLINE_EXCEEDED"),
    ],
)
async def test_an_error_keeps_its_words_and_gets_its_status(
    error: DiffMaskError, code: str
) -> None:
    seen = await failure(failing(error))
    assert (seen.code().name, seen.details()) == (code, str(error))


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}"])
async def test_a_long_message_is_cut_and_keeps_its_status(letter: str) -> None:
    # gRPC sends it as a header, which has a limit at every client.
    seen = await failure(failing(NotFound(f"{letter * 20_000}end")))
    assert seen.code() is grpc.StatusCode.NOT_FOUND
    assert str(seen.details()).startswith(letter * 500)
    assert str(seen.details()).endswith(f"{letter} ...")


@pytest.mark.parametrize(
    "error",
    [
        OverloadedError("full", retry_after_seconds=0.25),
        DeadlineError("the queue is too long", retry_after_seconds=0.25),
    ],
)
async def test_what_waiting_cures_says_when_to_try_again(error: DiffMaskError) -> None:
    trailers = dict(await trailers_of(failing(error)))
    assert trailers["grpc-retry-pushback-ms"] == "250"
    assert "x-request-id" in trailers


async def test_a_deadline_that_passed_has_no_hint() -> None:
    trailers = dict(await trailers_of(failing(DeadlineError("too late"))))
    assert "grpc-retry-pushback-ms" not in trailers


async def trailers_of(answer: Answer) -> Any:
    return (await failure(answer)).trailing_metadata()


@pytest.mark.parametrize(
    "error", [InferenceError("cuda 7"), KeyError("a text"), FolderError("/secret: no")]
)
async def test_our_failures_send_a_fixed_sentence_and_log_once(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await failure(failing(error))
    assert seen.code() is grpc.StatusCode.INTERNAL
    assert str(seen.details()).startswith(
        "the server failed on this request; its log tells"
    )
    request_id = str(dict(seen.trailing_metadata())["x-request-id"])
    # A loop of another test may still be at its end, and say so.
    ours = [r for r in caplog.records if r.name.startswith("diffmask_service")]
    (logged,) = [r.getMessage() for r in ours if r.levelname == "ERROR"]
    assert request_id in logged
    assert "test_interceptors.py" in logged
    assert request_id in str(seen.details())
    assert str(error) not in str(seen.details())


async def test_the_log_keeps_our_words_and_no_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = InferenceError("the graph failed")
    error.__cause__ = KeyError("a text")
    await failure(failing(error))
    assert "errors.InferenceError: the graph failed" in caplog.text
    assert "builtins.KeyError: (what it says is not logged)\nwhich" in caplog.text
    assert "a text" not in caplog.text
    (logged,) = [r for r in caplog.records if r.levelname == "ERROR"]
    fields = json.loads(JsonFormatter().format(logged))
    assert fields["id"] in fields["message"]
    assert fields["exception"].endswith("errors.InferenceError: the graph failed")


async def test_a_cancellation_from_within_never_leaves_the_caller_waiting() -> None:
    seen = await failure(failing(asyncio.CancelledError()))
    assert seen.code() is grpc.StatusCode.UNAVAILABLE
    assert seen.details() == "the work was abandoned"


@pytest.mark.parametrize(
    "raw",
    [
        # inputs { text: "\xff" } and a message that ends in the middle.
        b"\x1a\x03\x0a\x01\xff",
        b"\x1a\x7f",
    ],
)
async def test_bytes_that_are_no_message_are_an_invalid_argument(raw: bytes) -> None:
    seen = await failure(empty, raw)
    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not UTF-8" in str(seen.details())


async def test_a_request_id_of_the_caller_is_kept() -> None:
    async with calling(empty) as call:
        reply = await call(b"", metadata=(("x-request-id", "trace-1"),))
    assert explain_pb2.ExplainResponse.FromString(reply).request_id == "trace-1"


@pytest.mark.parametrize("forged", ["a b", "x" * 65, "code=OK"])
async def test_a_request_id_that_could_forge_log_lines_is_replaced(forged: str) -> None:
    async with calling(empty) as call:
        reply = await call(b"", metadata=(("x-request-id", forged),))
    found = explain_pb2.ExplainResponse.FromString(reply).request_id
    assert len(found) == 32


async def test_every_call_is_counted_and_logged_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "diffmask_service.access")
    telemetry = Telemetry()
    async with calling(empty, telemetry) as call:
        await call(b"")
    labels = {
        "grpc_type": "unary",
        "grpc_service": SERVICE,
        "grpc_method": "Explain",
        "grpc_code": "OK",
    }
    value = telemetry.registry.get_sample_value("grpc_server_handled_total", labels)
    assert value == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "method=Explain code=OK texts=0" in line


async def test_a_caller_that_leaves_is_counted_as_cancelled() -> None:
    telemetry, entered = Telemetry(), asyncio.Event()
    left = asyncio.Event()

    async def wait() -> explain_pb2.ExplainResponse:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        raise AssertionError

    async with calling(wait, telemetry) as method:
        call = method(b"")
        pending = asyncio.ensure_future(call.code())
        await entered.wait()
        call.cancel()
        await left.wait()
        assert await pending is grpc.StatusCode.CANCELLED
    labels = {
        "grpc_type": "unary",
        "grpc_service": SERVICE,
        "grpc_method": "Explain",
        "grpc_code": "CANCELLED",
    }
    value = telemetry.registry.get_sample_value("grpc_server_handled_total", labels)
    assert value == 1
