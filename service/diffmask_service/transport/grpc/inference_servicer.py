"""The Open Inference Protocol: convert, call the engine, convert."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Protocol, TypeAlias

import grpc

from diffmask_service import __version__
from diffmask_service.core.values import ModelDescription
from diffmask_service.engine import Engine
from diffmask_service.errors import (
    AccessError,
    InvalidInput,
    NotFound,
    shown_name,
)
from diffmask_service.repository import ModelState, Repository
from diffmask_service.transport.grpc.call import CURRENT_CALL, Call
from diffmask_service.transport.grpc.deadlines import deadline_of
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.statuses import Failure
from diffmask_service.transport.grpc.stream_methods import (
    OrMalformed,
    StreamMethod,
    Streams,
)
from diffmask_service.wire.inference import (
    Running,
    config_to_message,
    failure_to_message,
    metadata_to_message,
    read_request,
    statistics_to_message,
    write_reply,
)
from diffmask_service.wire.inference import messages as pb

_NAME = "diffmask-service"
_EXTENSIONS = (
    "classification",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "statistics",
    "diffmask_explanation",
)
_CONTROL_EXTENSION = "model_repository"
_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ModelControl(Protocol):
    """Who loads and unloads models."""

    async def load(self, name: str) -> None:
        """Load a model, or look for changes of one that is loaded."""
        ...

    async def unload(self, name: str) -> None:
        """Take a model out of service."""
        ...


class InferenceServicer:
    """Answers calls out of the engines of a repository.

    Args:
        repository: Where the engines are found.
        health: What other probes are told, with which this protocol agrees.
        control: Who loads and unloads models; None refuses to.
        stopping: Set when the server begins to stop, which ends the streams.
        stream_window: Most requests of a stream in progress, >= 1.
        clock: Monotonic time, seconds; the engines'.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        health: HealthServicer,
        control: ModelControl | None,
        stopping: asyncio.Event,
        stream_window: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._repository = repository
        self._health = health
        self._control = control
        self._clock = clock
        self._streams = Streams(stopping=stopping, window=stream_window, clock=clock)
        self._infer_stream = StreamMethod(
            name="ModelStreamInfer",
            answer=self._infer_in_stream,
            write_answer=_write_answer,
            write_failure=_write_failure,
        )

    async def ServerLive(
        self, request: pb.ServerLiveRequest, context: _Context
    ) -> pb.ServerLiveResponse:
        """Tell that the process lives."""
        del request, context
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: pb.ServerReadyRequest, context: _Context
    ) -> pb.ServerReadyResponse:
        """Tell whether some model answers."""
        del request, context
        states = {entry.state for entry in self._repository.index()}
        return pb.ServerReadyResponse(ready=self._is_ready(states))

    async def ModelReady(
        self, request: pb.ModelReadyRequest, context: _Context
    ) -> pb.ModelReadyResponse:
        """Tell whether a model answers."""
        del context
        states = {
            entry.state
            for entry in self._repository.index()
            if request.name in ("", entry.name)
            and request.version in ("", entry.version)
        }
        if not states:
            raise NotFound(
                f"the server knows no model {shown_name(request.name)}"
                + (
                    f" of version {shown_name(request.version)}"
                    if request.version
                    else ""
                )
                + ";"
                " RepositoryIndex lists those that it knows"
            )
        return pb.ModelReadyResponse(ready=self._is_ready(states))

    async def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: _Context
    ) -> pb.ServerMetadataResponse:
        """Tell what serves."""
        del request, context
        control = () if self._control is None else (_CONTROL_EXTENSION,)
        return pb.ServerMetadataResponse(
            name=_NAME, version=__version__, extensions=(*_EXTENSIONS, *control)
        )

    async def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: _Context
    ) -> pb.ModelMetadataResponse:
        """Tell inputs and outputs of a model."""
        del context
        engine = self._repository.find(request.name, version=request.version)
        model = engine.description
        return metadata_to_message(model, self._versions(model))

    async def ModelConfig(
        self, request: pb.ModelConfigRequest, context: _Context
    ) -> pb.ModelConfigResponse:
        """Tell how a model is run."""
        del context
        engine = self._repository.find(request.name, version=request.version)
        model, limits = engine.description, engine.limits
        running = Running(
            num_workers=engine.num_workers,
            is_on_gpu=engine.device == "cuda",
            max_texts=limits.max_texts,
            default_deadline_seconds=limits.default_deadline_seconds,
            priority_levels=limits.priority_levels,
            default_priority=limits.default_priority,
        )
        return config_to_message(model, self._versions(model), running)

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: _Context
    ) -> pb.ModelStatisticsResponse:
        """Tell what models did."""
        del context
        return pb.ModelStatisticsResponse(
            model_stats=[
                statistics_to_message(engine.description.identity, engine.statistics)
                for engine in self._engines(request.name, request.version)
            ]
        )

    async def ModelInfer(
        self, request: pb.ModelInferRequest, context: _Context
    ) -> pb.ModelInferResponse:
        """Predict and explain a batch of texts."""
        return await self._infer(request, CURRENT_CALL.get(), context.time_remaining())

    async def ModelStreamInfer(
        self,
        requests: AsyncIterator[OrMalformed[pb.ModelInferRequest]],
        context: _Context,
    ) -> None:
        """Predict and explain one batch after the other."""
        await self._streams.answer(requests, self._infer_stream, write=context.write)

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: _Context
    ) -> pb.RepositoryIndexResponse:
        """List every model."""
        del context
        _check_repository(request.repository_name)
        index = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[
                index(
                    name=entry.name,
                    version=entry.version,
                    state=entry.state,
                    reason=entry.reason,
                )
                for entry in self._repository.index()
                if entry.state is ModelState.READY or not request.ready
            ]
        )

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: _Context
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model."""
        del context
        control = self._controlled()
        _check_repository(request.repository_name)
        if request.parameters:
            raise InvalidInput(
                "parameters: are not taken; a model is loaded as it stands in the"
                " repository"
            )
        await control.load(request.model_name)
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: _Context
    ) -> pb.RepositoryModelUnloadResponse:
        """Unload a model."""
        del context
        control = self._controlled()
        _check_repository(request.repository_name)
        await control.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def _infer(
        self,
        request: pb.ModelInferRequest,
        call: Call,
        remaining_seconds: float | None,
    ) -> pb.ModelInferResponse:
        engine = self._repository.find(
            request.model_name, version=request.model_version
        )
        model = engine.description
        asked = read_request(request, model, max_texts=engine.limits.max_texts)
        reply = await engine.explain(
            asked.inputs,
            asked.options,
            deadline=deadline_of(
                self._clock(), remaining_seconds, asked.timeout_seconds
            ),
            priority=asked.priority,
            request_id=call.request_id,
        )
        call.note(reply)
        return write_reply(reply, asked, model)

    async def _infer_in_stream(
        self, request: pb.ModelInferRequest, call: Call
    ) -> pb.ModelInferResponse:
        # The deadline of a stream is not that of each of its requests.
        return await self._infer(request, call, None)

    def _is_ready(self, states: Collection[ModelState]) -> bool:
        # A server that is about to stop says so while its models still answer.
        return self._health.is_ready and ModelState.READY in states

    def _versions(self, model: ModelDescription) -> list[str]:
        return [
            entry.version
            for entry in self._repository.index()
            if entry.name == model.identity.id and entry.state is ModelState.READY
        ]

    def _engines(self, name: str, version: str) -> list[Engine]:
        found = [
            engine
            for engine in self._repository.engines
            if name in ("", engine.description.identity.id)
            and version in ("", engine.description.identity.version)
        ]
        if not found and (name or version):
            # Which says what is wrong with the name.
            return [self._repository.find(name, version=version)]
        return found

    def _controlled(self) -> ModelControl:
        if self._control is None:
            raise AccessError(
                "model control is switched off on this server; its operator decides"
                " which models are served"
            )
        return self._control


def _check_repository(name: str) -> None:
    if name:
        raise InvalidInput(
            "repository_name: is given, but there is one repository, without a name;"
            " leave it out"
        )


def _write_answer(
    given_id: str, response: pb.ModelInferResponse
) -> pb.ModelStreamInferResponse:
    # Which has the name in it already.
    del given_id
    return pb.ModelStreamInferResponse(infer_response=response)


def _write_failure(
    given_id: str, failure: Failure, call: Call
) -> pb.ModelStreamInferResponse:
    return failure_to_message(
        failure.message,
        status=failure.code.name,
        request_id=call.request_id,
        given_id=given_id,
        retry_after_seconds=failure.retry_after_seconds,
    )
