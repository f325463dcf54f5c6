"""The Explainer service: convert, call the engine, convert."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import grpc

from diffmask_service.core.values import Reply
from diffmask_service.repository import Repository
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.deadlines import deadline_of
from diffmask_service.transport.grpc.statuses import Failure
from diffmask_service.transport.grpc.stream_methods import (
    OrMalformed,
    StreamMethod,
    Streams,
)
from diffmask_service.wire.converters import (
    ExplainCall,
    model_to_proto,
    reply_to_proto,
    request_from_proto,
    stream_request_from_proto,
)
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc


class ExplainerServicer(explain_pb2_grpc.ExplainerServicer):
    """Answers calls out of the engines of a repository.

    Args:
        repository: Where the engines are found.
        stopping: Set when the server begins to stop, which ends the streams.
        stream_window: Most requests of a stream in progress, >= 1.
        clock: Monotonic time, seconds; the engines'.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        stopping: asyncio.Event,
        stream_window: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._streams = Streams(stopping=stopping, window=stream_window, clock=clock)
        self._explain_stream = StreamMethod(
            name="ExplainStream",
            answer=self._explain_in_stream,
            write_answer=_write_answer,
            write_failure=_write_failure,
        )

    async def Explain(
        self,
        request: explain_pb2.ExplainRequest,
        context: grpc.aio.ServicerContext[
            explain_pb2.ExplainRequest, explain_pb2.ExplainResponse
        ],
    ) -> explain_pb2.ExplainResponse:
        """Predict and explain a batch of texts."""
        call = request_from_proto(request)
        remaining = context.time_remaining()
        reply = await self._explain(call, CURRENT_CALL.get(), remaining)
        return reply_to_proto(reply)

    async def ExplainStream(
        self,
        requests: AsyncIterator[OrMalformed[explain_pb2.ExplainStreamRequest]],
        context: grpc.aio.ServicerContext[
            explain_pb2.ExplainStreamRequest, explain_pb2.ExplainStreamResponse
        ],
    ) -> None:
        """Predict and explain one batch after the other."""
        await self._streams.answer(requests, self._explain_stream, write=context.write)

    async def GetModel(
        self,
        request: explain_pb2.GetModelRequest,
        context: grpc.aio.ServicerContext[
            explain_pb2.GetModelRequest, explain_pb2.Model
        ],
    ) -> explain_pb2.Model:
        """Describe one model."""
        del context
        engine = self._repository.find(request.model, version=request.version)
        return model_to_proto(engine.description)

    async def ListModels(
        self,
        request: explain_pb2.ListModelsRequest,
        context: grpc.aio.ServicerContext[
            explain_pb2.ListModelsRequest, explain_pb2.ListModelsResponse
        ],
    ) -> explain_pb2.ListModelsResponse:
        """Describe every model."""
        del request, context
        return explain_pb2.ListModelsResponse(
            models=[
                model_to_proto(engine.description)
                for engine in self._repository.engines
            ]
        )

    async def _explain_in_stream(
        self, request: explain_pb2.ExplainStreamRequest, call: Call
    ) -> Reply:
        wanted = stream_request_from_proto(request)
        return await self._explain(wanted.call, call, wanted.timeout_seconds)

    async def _explain(
        self, wanted: ExplainCall, call: Call, remaining_seconds: float | None
    ) -> Reply:
        engine = self._repository.find(wanted.model, version=wanted.version)
        reply = await engine.explain(
            wanted.inputs,
            wanted.options,
            deadline=deadline_of(self._clock(), remaining_seconds),
            request_id=call.request_id,
        )
        call.note(reply)
        return reply


def _write_answer(key: str, reply: Reply) -> explain_pb2.ExplainStreamResponse:
    return explain_pb2.ExplainStreamResponse(id=key, response=reply_to_proto(reply))


def _write_failure(
    key: str, failure: Failure, call: Call
) -> explain_pb2.ExplainStreamResponse:
    del call
    number: int = failure.code.value[0]
    return explain_pb2.ExplainStreamResponse(
        id=key,
        failure=explain_pb2.Failure(
            code=number,
            message=failure.message,
            retry_after_seconds=failure.retry_after_seconds,
        ),
    )
