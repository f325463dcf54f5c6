"""The Explainer service: convert, call the engine, convert."""

import time
from collections.abc import Callable

import grpc

from diffmask_service.repository import Repository
from diffmask_service.transport.grpc.call import CURRENT_CALL
from diffmask_service.wire.converters import (
    model_to_proto,
    reply_to_proto,
    request_from_proto,
)
from diffmask_service.wire.pb import explain_pb2, explain_pb2_grpc

# Without a deadline gRPC reports one some 290 years ahead.
_NO_DEADLINE_SECONDS = 86_400.0


class ExplainerServicer(explain_pb2_grpc.ExplainerServicer):
    """Answers calls out of the engines of a repository.

    Args:
        repository: Where the engines are found.
        clock: Monotonic time, seconds; the engines'.
    """

    def __init__(
        self, repository: Repository, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._repository = repository
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
        current = CURRENT_CALL.get()
        engine = self._repository.find(call.model, version=call.version)
        reply = await engine.explain(
            call.inputs,
            call.options,
            deadline=self._deadline(context.time_remaining()),
            request_id=current.request_id,
        )
        current.note(reply)
        return reply_to_proto(reply)

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

    def _deadline(self, remaining_seconds: float | None) -> float | None:
        if remaining_seconds is None or remaining_seconds > _NO_DEADLINE_SECONDS:
            return None
        return self._clock() + remaining_seconds
