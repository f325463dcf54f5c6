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

    `liveness` serves as long as the process does, a model while one of its versions is
    ready, everything else while requests are answered.

    Args:
        names: Names that follow the readiness of the whole server, beside "" and
            `readiness`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset({"", READINESS, *names})
        self._versions: dict[str, dict[str, bool]] = {}
        self._is_ready = False
        self._is_closed = False
        self._changed = asyncio.Event()

    def set_ready(self, is_ready: bool) -> None:  # noqa: FBT001 - a callback
        """Tell everybody whether requests are answered."""
        self._is_ready = is_ready
        self._wake()

    def set_model_ready(self, name: str, version: str, is_ready: bool) -> None:  # noqa: FBT001 - a callback
        """Tell everybody whether a version of a model is ready.

        Args:
            name: Of the model; watched as it stands, for any of its versions.
            version: Its number; watched as `<name>/<version>`.
            is_ready: Whether it answers.
        """
        self._versions.setdefault(name, {})[version] = is_ready
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
        is_ready = self._is_ready if name in self._names else self._is_model_ready(name)
        if is_ready is None:
            return int(serving.SERVICE_UNKNOWN)
        return int(serving.SERVING if is_ready else serving.NOT_SERVING)

    def _is_model_ready(self, name: str) -> bool | None:
        model, slash, version = name.partition("/")
        versions = self._versions.get(model)
        if versions is None:
            return None
        return versions.get(version) if slash else any(versions.values())

    def _wake(self) -> None:
        # A fresh event for the next change: nobody who looks again can miss one.
        self._changed.set()
        self._changed = asyncio.Event()
