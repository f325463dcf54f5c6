"""A whole gRPC server over an engine that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from diffmask_service.core.values import Reply
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.health import HealthServicer
from diffmask_service.transport.grpc.server import GrpcSettings, bind, build_server
from tests.support.replies import reply

ANYWHERE = GrpcSettings(
    host="127.0.0.1", port=0, max_message_bytes=1 << 20, has_reflection=True
)
Answer = Callable[[], Awaitable[Reply]]


async def answer_at_once() -> Reply:
    """Answer with the made-up reply."""
    return reply()


@dataclass
class Scripted:
    """The engine of every model; finds itself.

    Attributes:
        answer: Makes each answer.
        num_calls: Requests that came.
        stopping: Ends the streams.
        target: Where the server listens.
    """

    answer: Answer = answer_at_once
    num_calls: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    target: str = ""

    def find(self, model: str, *, version: str) -> "Scripted":
        return self

    async def explain(self, *_: object, **__: object) -> Reply:
        self.num_calls += 1
        return await self.answer()


@asynccontextmanager
async def serving(
    scripted: Scripted,
    *,
    settings: GrpcSettings = ANYWHERE,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Scripted]:
    """Serve it on a free port, which its `target` then names."""
    repository: Any = scripted
    server = build_server(
        repository,
        HealthServicer(()),
        telemetry=telemetry or Telemetry(),
        settings=settings,
        stopping=scripted.stopping,
    )
    scripted.target = f"127.0.0.1:{bind(server, settings)}"
    await server.start()
    try:
        yield scripted
    finally:
        await server.stop(None)
