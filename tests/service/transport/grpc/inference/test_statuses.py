"""Every status that the protocol can end in, and what a caller is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from diffmask_service.core.values import ExplainOptions, TextInput
from diffmask_service.engine import Engine
from diffmask_service.errors import InferenceError, OverloadedError
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.wire.inference import messages as pb
from tests.support.inference import (
    Caller,
    calling,
    ids_tensor,
    infer_request,
    set_parameter,
    tensor_request,
    text_tensor,
)
from tests.support.tiny import TOKENS

GOOD = TOKENS.index("good")


@pytest.fixture
async def caller(engine: Engine) -> AsyncIterator[Caller]:
    async with calling(engine) as made:
        yield made


async def failure(
    caller: Caller, request: Any, method: str = "ModelInfer", **keywords: Any
) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.call(method, request, **keywords)
    return raised.value


def changed(**fields: Any) -> pb.ModelInferRequest:
    """Return a good request with other fields."""
    request = infer_request()
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def of_shape(*shape: int) -> pb.ModelInferRequest:
    request = infer_request()
    request.inputs[0].shape[:] = shape
    return request


def of_datatype(datatype: str) -> pb.ModelInferRequest:
    request = infer_request()
    request.inputs[0].datatype = datatype
    return request


def mixed() -> pb.ModelInferRequest:
    request = infer_request(is_raw=True)
    request.inputs[0].contents.bytes_contents.append(b"good")
    return request


def with_raw(*contents: bytes) -> pb.ModelInferRequest:
    request = infer_request(is_raw=True)
    request.raw_input_contents[:] = contents
    return request


def with_tensor_parameter() -> pb.ModelInferRequest:
    request = infer_request()
    set_parameter(request.inputs[0].parameters["shared_memory_region"], "mine")
    return request


def classified(name: str, num_classes: int | str) -> pb.ModelInferRequest:
    request = infer_request(outputs=[name])
    set_parameter(request.outputs[0].parameters["classification"], num_classes)
    return request


def tokens(
    ids: list[list[int]], mask: list[list[int]], *more: Any
) -> pb.ModelInferRequest:
    return tensor_request(
        ids_tensor("input_ids", ids), ids_tensor("attention_mask", mask), *more
    )


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (pb.ModelInferRequest(), "inputs: text is missing"),
        (infer_request([" "]), "is empty"),
        (infer_request(["a " * 50]), "tokens, special tokens counted"),
        (infer_request(["a"] * 33), "send at most 32"),
        (infer_request([b"\xff"]), "inputs.text: holds bytes that are not UTF-8"),
        (of_shape(1, 1), r"inputs.text: its shape is [1, 1]; send [batch]"),
        (of_shape(2), "inputs.text: has 1 values in bytes_contents; the shape [2]"),
        (of_shape(-1), "its shape is [-1]"),
        (of_shape(0), "its shape is [0]"),
        (of_datatype("FP32"), "its datatype is 'FP32'; send BYTES"),
        (of_datatype("a text in the wrong field"), "(a name of 25 characters)"),
        (mixed(), "has contents beside raw_input_contents"),
        (with_raw(b"\x09\0\0\0good"), "its raw bytes are not 1 BYTES elements"),
        (with_raw(b"", b""), "has 2 entries for 1 inputs"),
        (infer_request(pairs={"texts": ["a"]}), "the model has no input 'texts'"),
        (
            tensor_request(text_tensor("text", ["a"]), text_tensor("text", ["a"])),
            "text comes twice",
        ),
        (infer_request(outputs=["scores", "score"]), "has no output 'score'; it has"),
        (infer_request(outputs=["label", "label"]), "label is asked for twice"),
        (infer_request(topk=3), "parameters: holds 'topk'; known are timeout"),
        (infer_request(top_k=0), "parameters.top_k: is 0; give at least 1"),
        (infer_request(top_k="3"), "parameters.top_k: is a string; send a whole"),
        (infer_request(verify=1), "parameters.verify: is a whole number; send a bool"),
        (infer_request(states=True), "parameters.states: is a bool; send a string"),
        (infer_request(states="a,a"), "parameters.states: holds a name twice"),
        (infer_request(timeout=-1), "parameters.timeout: is -1"),
        (infer_request(granularity="letters"), "'letters' is not known; send tokens"),
        (infer_request(top_k=1, outputs=["label"]), "top_k chooses among gates"),
        (infer_request(sequence_id=7), "parameters: holds 'sequence_id'"),
        (with_tensor_parameter(), "inputs.text.parameters: holds 'shared_memory"),
        (classified("tokens", 2), "chooses among labels; tokens is [batch, tokens]"),
        (classified("logits", 0), "parameters.classification: is 0"),
        (classified("logits", "2"), "parameters.classification: is a string"),
        (tensor_request(ids_tensor("input_ids", [[1]])), "attention_mask is missing"),
        (tokens([[GOOD]], [[0]]), "row 0 has no 1"),
        (tokens([[GOOD] * 3], [[1, 0, 1]]), "a 0 between two 1"),
        (tokens([[GOOD]], [[2]]), "holds other values than 0 and 1"),
        (tokens([[GOOD]], [[1, 1]]), "inputs.attention_mask: its shape is [1, 2]"),
        (tokens([[999]], [[1]]), "holds the token 999"),
        (
            tokens([[GOOD]], [[1]], text_tensor("text", ["a"])),
            "send either input_ids or text, not both",
        ),
        (
            tensor_request(
                text_tensor("text", ["a"]), ids_tensor("token_type_ids", [[0]])
            ),
            "token_type_ids goes with input_ids",
        ),
    ],
)
async def test_what_the_caller_can_fix_is_an_invalid_argument(
    caller: Caller, request_: pb.ModelInferRequest, words: str
) -> None:
    seen = await failure(caller, request_)
    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(seen.details())


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ModelInfer", changed(model_name="huge")),
        ("ModelInfer", changed(model_version="9")),
        ("ModelInfer", infer_request(states="block_9")),
        ("ModelReady", pb.ModelReadyRequest(name="huge")),
        ("ModelReady", pb.ModelReadyRequest(name="tiny", version="9")),
        ("ModelMetadata", pb.ModelMetadataRequest(name="huge")),
        ("ModelConfig", pb.ModelConfigRequest(name="tiny", version="9")),
        ("ModelStatistics", pb.ModelStatisticsRequest(name="huge")),
    ],
)
async def test_what_is_not_there_is_not_found(
    caller: Caller, method: str, request_: Any
) -> None:
    seen = await failure(caller, request_, method)
    assert seen.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="tiny")),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="tiny")),
    ],
)
async def test_model_control_is_refused_while_it_is_off(
    caller: Caller, method: str, request_: Any
) -> None:
    seen = await failure(caller, request_, method)
    assert seen.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "model control is switched off" in str(seen.details())


async def test_a_request_over_the_size_limit_is_exhausting(caller: Caller) -> None:
    seen = await failure(caller, infer_request(["a" * 70_000]))
    assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_bytes_that_are_no_message_are_an_invalid_argument(
    caller: Caller,
) -> None:
    class Garbage:
        def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
            return b"\x0a\x7f"

    seen = await failure(caller, Garbage())
    assert seen.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_drained_model_is_unavailable(caller: Caller, engine: Engine) -> None:
    await engine.drain(0.0)
    seen = await failure(caller, infer_request())
    assert seen.code() is grpc.StatusCode.UNAVAILABLE
    ready = await caller.call("ServerReady", pb.ServerReadyRequest())
    live = await caller.call("ServerLive", pb.ServerLiveRequest())
    assert (ready.ready, live.live) == (False, True)
    one = await caller.call("ModelReady", pb.ModelReadyRequest(name="tiny"))
    assert not one.ready


async def test_a_server_that_is_about_to_stop_says_so_and_still_answers(
    engine: Engine,
) -> None:
    health = HealthServicer(())
    requests = {
        "ServerReady": pb.ServerReadyRequest(),
        "ModelReady": pb.ModelReadyRequest(name="tiny"),
    }
    async with calling(engine, health=health) as caller:
        for is_ready in (True, False):
            health.set_ready(is_ready)
            for method, request in requests.items():
                told = await caller.call(method, request)
                assert told.ready is is_ready, method
            assert await caller.call("ModelInfer", infer_request())


class _Refusing:
    """Does what the test says in the place of an engine's work."""

    def __init__(self, engine: Engine, error: Exception | None = None) -> None:
        self._engine = engine
        self._error = error
        self.deadlines: list[float | None] = []
        self.priorities: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def explain(
        self,
        inputs: Any,
        options: ExplainOptions,
        *,
        deadline: float | None = None,
        **keywords: Any,
    ) -> Any:
        self.deadlines.append(deadline)
        self.priorities.append(keywords.pop("priority", 0))
        if self._error is not None:
            raise self._error
        return await self._engine.explain(inputs, options, **keywords)


async def test_overload_says_when_to_try_again(engine: Engine) -> None:
    error = OverloadedError("full", retry_after_seconds=0.25)
    refusing: Any = _Refusing(engine, error)
    async with calling(refusing) as caller:
        seen = await failure(caller, infer_request())
    assert seen.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailers: Any = seen.trailing_metadata()
    assert dict(trailers)["grpc-retry-pushback-ms"] == "250"


async def test_our_failure_tells_nothing_but_a_request_id(engine: Engine) -> None:
    refusing: Any = _Refusing(engine, InferenceError("cuda 7"))
    async with calling(refusing) as caller:
        seen = await failure(caller, infer_request())
    assert seen.code() is grpc.StatusCode.INTERNAL
    assert "cuda" not in str(seen.details())


async def test_a_timeout_that_cannot_be_met_is_a_deadline(caller: Caller) -> None:
    seen = await failure(caller, infer_request(timeout=1))
    assert seen.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_earlier_of_timeout_and_deadline_holds(engine: Engine) -> None:
    spying: Any = _Refusing(engine)
    async with calling(spying) as caller:
        loop = asyncio.get_running_loop()
        now = loop.time()
        await caller.call("ModelInfer", infer_request())
        await caller.call("ModelInfer", infer_request(timeout=20_000_000), timeout=60)
        await caller.call("ModelInfer", infer_request(timeout=60_000_000), timeout=20)
        later = loop.time()
    none, *both = spying.deadlines
    assert none is None
    # Neither to the millisecond nor anywhere near a minute.
    assert all(now + 19 <= each <= later + 21 for each in both)


async def test_the_priority_reaches_the_queue(engine: Engine) -> None:
    spying: Any = _Refusing(engine)
    async with calling(spying) as caller:
        await caller.call("ModelInfer", infer_request())
        request = infer_request()
        request.parameters["priority"].uint64_param = 1
        await caller.call("ModelInfer", request)
    assert spying.priorities == [0, 1]


async def test_a_caller_that_leaves_is_cancelled(engine: Engine) -> None:
    entered = asyncio.Event()

    class Waiting(_Refusing):
        async def explain(self, *args: Any, **keywords: Any) -> Any:
            entered.set()
            await asyncio.Event().wait()

    waiting: Any = Waiting(engine)
    async with calling(waiting) as caller:
        call = asyncio.ensure_future(caller.call("ModelInfer", infer_request()))
        await entered.wait()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert call.cancelled()


@pytest.mark.parametrize("method", ["TraceSetting", "SystemSharedMemoryStatus"])
async def test_what_is_not_offered_is_unimplemented(
    engine: Engine, method: str
) -> None:
    async with calling(engine) as caller:
        path = f"/inference.GRPCInferenceService/{method}"
        call: Any = caller.channel.unary_unary(path)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(b"")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_reserved_names_of_other_servers_are_passed_over(caller: Caller) -> None:
    request = infer_request(triton_enable_empty_final_response=True, headers="x")
    assert await caller.call("ModelInfer", request)


async def test_the_engine_is_as_good_as_before(caller: Caller, engine: Engine) -> None:
    await failure(caller, infer_request(top_k=0))
    reply = await engine.explain([TextInput(text="good")], ExplainOptions())
    assert len(reply.explanations) == 1
