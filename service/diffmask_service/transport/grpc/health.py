"""`grpc.health.v1`: readiness by service and model, liveness apart from it.

The ready-made servicer is not used: when one of two watchers of a name leaves, it drops
the other's wake-up, and its watches hold up a graceful stop until the grace runs out.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from diffmask_service.errors import shown_name

LIVENESS = "liveness"
READINESS = "readiness"
_Context = grpc.aio.ServicerContext[
    health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
]


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Tells probes and balancers how the server is; lives on one event loop.

    `liveness` serves as long as the process does, everything else while requests are
    answered.

    Args:
        names: Names that follow the readiness of the whole server, beside "" and
            `readiness`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset({"", READINESS, *names})
        self._is_ready = False
        self._is_stopping = False
        self._is_ready_by_model: dict[str, bool] = {}
        self._is_closed = False
        self._changed = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """Whether everybody is told that requests are answered."""
        return self._is_ready

    def set_ready(self, is_ready: bool) -> None:  # noqa: FBT001 - a callback
        """Tell everybody whether requests are answered.

        Args:
            is_ready: Whether they are; once the server stops, it counts for nothing.
        """
        self._is_ready = is_ready and not self._is_stopping
        self._wake()

    def begin_stop(self) -> None:
        """Tell everybody, for good, that no requests are answered."""
        self._is_stopping = True
        self.set_ready(False)

    def set_model_ready(self, name: str, *, is_ready: bool) -> None:
        """Tell whether one model, or one version of it, answers.

        Args:
            name: `MODEL` or `MODEL/VERSION`.
            is_ready: Whether it does; as long as the server as a whole does not, it
                counts for nothing.
        """
        self._is_ready_by_model[name] = is_ready
        self._wake()

    def forget_model(self, name: str) -> None:
        """Stop knowing a model, or a version of it, that is served no more."""
        self._is_ready_by_model.pop(name, None)
        self._wake()

    def close(self) -> None:
        """End every watch, so that the server can stop."""
        self._is_closed = True
        self._wake()

    async def Check(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> health_pb2.HealthCheckResponse:
        """Return the status of a name."""
        status = self._status(request.service)
        if status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN:
            # The names of the models are not told here: probes bring no token.
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"no service {shown_name(request.service)} is watched; there are"
                f" {LIVENESS!r}, {READINESS!r}, '' for the whole server, and the names"
                " of services, models and MODEL/VERSION",
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802 - gRPC's name
        self, request: health_pb2.HealthCheckRequest, context: _Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send the status of a name at once and at each change."""
        del context
        last = None
        while True:
            # All three before the message is sent: what changes meanwhile is seen in
            # the next round.
            changed, is_closed = self._changed, self._is_closed
            status = self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            if is_closed:
                return
            await changed.wait()

    def _status(self, name: str) -> int:
        serving = health_pb2.HealthCheckResponse
        if name == LIVENESS:
            return int(serving.SERVING)
        is_ready = name in self._names or self._is_ready_by_model.get(name)
        if is_ready is None:
            return int(serving.SERVICE_UNKNOWN)
        return int(
            serving.SERVING if is_ready and self._is_ready else serving.NOT_SERVING
        )

    def _wake(self) -> None:
        # A fresh event for the next change: nobody who looks again can miss one.
        self._changed.set()
        self._changed = asyncio.Event()
