"""A console in this process, over a real socket."""

import asyncio
import http.client
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from diffmask_service.render import stylesheet
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.grpc.server import SERVICE, GrpcSettings
from diffmask_service.transport.http.console.opening import (
    ConsoleSettings,
    open_console,
)

SETTINGS = ConsoleSettings(
    host="127.0.0.1",
    port=0,
    metrics_tokens=None,
    tls=None,
    calls=GrpcSettings(
        host="127.0.0.1", port=0, max_message_bytes=4096, has_reflection=False
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came back: status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Asks a console, beside the event loop that answers."""

    port: int
    context: ssl.SSLContext | None = field(default=None)

    async def get(self, path: str, **headers: str) -> Heard:
        return await asyncio.to_thread(self._ask, "GET", path, None, headers)

    async def call(self, method: str, message: object, **headers: str) -> Heard:
        """Call a method of the API; in the names of headers, "-" is "_"."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        headers = {"content_type": "application/json"} | headers
        path = f"/{SERVICE.full_name}/{method}"
        return await asyncio.to_thread(self._ask, "POST", path, body, headers)

    def _ask(
        self, verb: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Heard:
        if self.context is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, context=self.context
            )
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(verb, path, body, named)
            reply = connection.getresponse()
            shown = {name.lower(): value for name, value in reply.getheaders()}
            return Heard(status=reply.status, headers=shown, body=reply.read())
        finally:
            connection.close()


Opening = Callable[..., AbstractAsyncContextManager[Caller]]


@pytest.fixture
def opening(telemetry: Telemetry) -> Opening:
    """Opens a console over a repository, with changes to its settings."""

    @asynccontextmanager
    async def opened(
        repository: Any, *, context: ssl.SSLContext | None = None, **changes: Any
    ) -> AsyncIterator[Caller]:
        console = open_console(
            repository,
            replace(SETTINGS, **changes),
            telemetry=telemetry,
            stopping=asyncio.Event(),
            stylesheet=stylesheet(),
        )
        try:
            yield Caller(port=console.port, context=context)
        finally:
            await asyncio.to_thread(console.stop)

    return opened
