"""A real gRPC server with made-up answers."""

# The names of the methods are those of the protocols.
# ruff: noqa: N802

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from diffmask_service.core.values import GateKind, ModelDescription, Task
from diffmask_service.wire.converters import (
    ExplainCall,
    model_to_proto,
    reply_to_proto,
    request_from_proto,
)
from diffmask_service.wire.pb import explain_pb2 as pb
from diffmask_service.wire.pb import explain_pb2_grpc
from tests.support.replies import LABELS, STATES, reply

DESCRIPTION = ModelDescription(
    identity=reply().model,
    task=Task.TEXT_CLASSIFICATION,
    labels=LABELS,
    max_tokens=128,
    states=STATES,
    gates=tuple(GateKind),
    hard_mask_threshold=0.5,
    takes_pairs=False,
    is_ready=True,
    manifest_json="{}",
)


@dataclass
class Stub(explain_pb2_grpc.ExplainerServicer):
    """Answers every call with the same values, or fails it with a status.

    In a stream the text "bad" fails alone and the text "lost" gets no reply.
    `failures` is how many calls fail before the rest succeed; None fails all.
    """

    status: grpc.StatusCode | None = None
    trailer: tuple[tuple[str, str], ...] = ()
    health: Any = field(default_factory=health.HealthServicer)
    calls: list[ExplainCall] = field(default_factory=list)
    wait: Callable[[], object] = lambda: None
    target: str = ""
    stream_requests: list[pb.ExplainStreamRequest] = field(default_factory=list)
    misnames: str = ""
    failures: int | None = None
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)

    def Explain(
        self, request: pb.ExplainRequest, context: grpc.ServicerContext
    ) -> pb.ExplainResponse:
        self.calls.append(request_from_proto(request))
        self.wait()
        self._fail(context)
        return reply_to_proto(reply())

    def ExplainStream(
        self,
        requests: Iterable[pb.ExplainStreamRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[pb.ExplainStreamResponse]:
        for request in requests:
            self.stream_requests.append(request)
            self._fail(context)
            name = self.misnames or request.id
            if request.request.inputs[0].text == "bad":
                failure = pb.Failure(
                    code=8, message="the queue is full", retry_after_seconds=0.5
                )
                yield pb.ExplainStreamResponse(id=name, failure=failure)
            elif request.request.inputs[0].text != "lost":
                yield pb.ExplainStreamResponse(
                    id=name, response=reply_to_proto(reply())
                )

    def GetModel(
        self, request: pb.GetModelRequest, context: grpc.ServicerContext
    ) -> pb.Model:
        self._fail(context)
        return model_to_proto(DESCRIPTION)

    def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.ServicerContext
    ) -> pb.ListModelsResponse:
        self._fail(context)
        return pb.ListModelsResponse(models=[model_to_proto(DESCRIPTION)])

    def _fail(self, context: grpc.ServicerContext) -> None:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.failures is not None:
            self.failures -= 1
        if self.status is not None and (self.failures is None or self.failures >= 0):
            context.set_trailing_metadata(self.trailer)
            context.abort(self.status, "the reason")


@contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """Serve a stub on a free port, which its `target` then names."""
    server = grpc.server(ThreadPoolExecutor(2))
    explain_pb2_grpc.add_ExplainerServicer_to_server(stub, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(stub.health, server)
    stub.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield stub
    finally:
        server.stop(grace=None).wait()
