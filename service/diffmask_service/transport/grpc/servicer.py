"""The Explainer service: convert, call the engine, convert."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import grpc

from diffmask_service.core.values import Reply
from diffmask_service.repository import Repository
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.deadlines import deadline_of
from diffmask_service.transport.grpc.interceptors import MalformedMessage
from diffmask_service.transport.grpc.statuses import Failure, settle
from diffmask_service.transport.grpc.streams import answer_in_order, stream_stopped
from diffmask_service.wire.converters import (
    ExplainCall,
    model_to_proto,
    reply_to_proto,
    request_from_proto,
    stream_request_from_proto,
)
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc

# What takes the place of a message that does not parse says so by its type.
_StreamRequest: TypeAlias = explain_pb2.ExplainStreamRequest | MalformedMessage


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
        self._stopping = stopping
        self._stream_window = stream_window
        self._clock = clock

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
        requests: AsyncIterator[_StreamRequest],
        context: grpc.aio.ServicerContext[
            explain_pb2.ExplainStreamRequest, explain_pb2.ExplainStreamResponse
        ],
    ) -> None:
        """Predict and explain one batch after the other."""
        stream, numbers = CURRENT_CALL.get(), itertools.count(1)
        is_complete = await answer_in_order(
            requests,
            answer=lambda request: self._reply_in_stream(
                request, stream=stream, number=next(numbers)
            ),
            write=context.write,
            window=self._stream_window,
            stopping=self._stopping,
        )
        if not is_complete:
            raise stream_stopped()

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

    async def _reply_in_stream(
        self, request: _StreamRequest, *, stream: Call, number: int
    ) -> explain_pb2.ExplainStreamResponse:
        began = self._clock()
        call = Call(request_id=f"{stream.request_id}.{number}")
        outcome = await settle(
            self._explain_in_stream(request, call), request_id=call.request_id
        )
        code = outcome.code if isinstance(outcome, Failure) else grpc.StatusCode.OK
        if code is grpc.StatusCode.UNAVAILABLE and self._stopping.is_set():
            # Read, but too late to be taken: the stream ends before it.
            raise stream_stopped()
        call.log("ExplainStream/request", code, seconds=self._clock() - began)
        stream.add(call)
        key = "" if isinstance(request, MalformedMessage) else request.id
        if isinstance(outcome, Failure):
            return explain_pb2.ExplainStreamResponse(
                id=key, failure=_failure_to_proto(outcome)
            )
        return explain_pb2.ExplainStreamResponse(
            id=key, response=reply_to_proto(outcome)
        )

    async def _explain_in_stream(self, request: _StreamRequest, call: Call) -> Reply:
        if isinstance(request, MalformedMessage):
            raise request.error()
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


def _failure_to_proto(failure: Failure) -> explain_pb2.Failure:
    number: int = failure.code.value[0]
    return explain_pb2.Failure(
        code=number,
        message=failure.message,
        retry_after_seconds=failure.retry_after_seconds,
    )
