"""The ASGI application of the HTTP listener: the page, its calls, and `/metrics`."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diffmask_service.errors import (
    DeadlineError,
    InvalidInput,
    PermissionDenied,
)
from diffmask_service.transport.grpc.server import SERVICE
from diffmask_service.transport.http.console.calls import (
    METHOD_NAMES,
    JsonCalls,
)
from diffmask_service.transport.http.names import refusal
from diffmask_service.transport.tokens import TokenFile

# Nothing but this listener is asked for anything, and nothing inline is run or applied.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # What a browser kept would outlive the release, and answers hold texts.
    "Cache-Control": "no-store",
}
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
}
# Time for a request to arrive, once its first line is there.
_ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What a request must keep to.

    Attributes:
        max_message_bytes: Largest body, bytes.
        max_header_bytes: Largest headers, bytes.
        names: What the server may be called by; empty for any.
    """

    max_message_bytes: int
    max_header_bytes: int
    names: Collection[str] = ()


def build_application(
    calls: JsonCalls,
    *,
    registry: CollectorRegistry,
    metrics_tokens: TokenFile | None,
    limits: HttpLimits,
    stylesheet: str,
) -> ASGIApp:
    """Return what answers every request of the listener.

    Args:
        calls: Answers the page's calls.
        registry: What `/metrics` shows.
        metrics_tokens: Tokens that `/metrics` asks for; None shows it to everybody.
        limits: What calls must keep to.
        stylesheet: The style of pages with explanations, CSS.
    """
    files = _page_files() | {"page.css": stylesheet.encode()}
    routes = [
        Route("/", _to_console),
        Route("/console", _to_console),
        Route("/metrics", _Metrics(registry, metrics_tokens, names=limits.names)),
        *(
            Route(
                "/console/" + ("" if name == "index.html" else name),
                partial(_show_file, name=name, content=content),
            )
            for name, content in files.items()
        ),
        *(
            Route(
                f"/{SERVICE.full_name}/{name}",
                partial(_answer_call, name=name, calls=calls, limits=limits),
                methods=["POST"],
            )
            for name in METHOD_NAMES
        ),
    ]
    application = Starlette(routes=routes)
    # Such a redirect would lead to whatever host the caller named.
    application.router.redirect_slashes = False
    return _WithHeaders(application, max_header_bytes=limits.max_header_bytes)


class _WithHeaders:
    """Adds to each answer what the browser must keep to; refuses large headers."""

    def __init__(self, application: ASGIApp, *, max_header_bytes: int) -> None:
        self._application = application
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        application = self._application
        # Uvicorn's own limit is for headers that come in several pieces.
        if sum(len(name) + len(value) for name, value in scope["headers"]) > (
            self._max_header_bytes
        ):
            application = PlainTextResponse("too large headers\n", status_code=431)
        await application(scope, receive, send_with_headers)


class _Metrics:
    """`/metrics`, as the listener without a console has it."""

    def __init__(
        self,
        registry: CollectorRegistry,
        tokens: TokenFile | None,
        *,
        names: Collection[str],
    ) -> None:
        self._application: Any = make_asgi_app(registry)
        self._tokens = tokens
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        application = self._application
        headers = Request(scope).headers
        header = headers.get("authorization", "")
        if self._tokens is None:
            # With tokens there is no need: a stranger's page has none.
            reason = refusal(self._names, headers.get("host", ""))
            if reason is not None:
                application = PlainTextResponse(f"{reason}\n", status_code=403)
        elif not self._tokens.admits(header):
            application = PlainTextResponse(
                "send a metrics token\n",
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        await application(scope, receive, send)


def _page_files() -> dict[str, bytes]:
    folder = resources.files(__package__).joinpath("page")
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def _to_console(request: Request) -> Response:
    # Relative, so that it holds behind a proxy that shows the server under a path.
    target = "console/" if request.url.path == "/" else "./console/"
    return RedirectResponse(target)


async def _show_file(request: Request, *, name: str, content: bytes) -> Response:
    del request
    suffix = name[name.rindex(".") :]
    return Response(content, media_type=_MEDIA_TYPES[suffix])


async def _answer_call(
    request: Request, *, name: str, calls: JsonCalls, limits: HttpLimits
) -> Response:
    answer = await calls.answer(name, _Asking(request, limits))
    headers = {"WWW-Authenticate": "Bearer"} if answer.status == 401 else None
    return JSONResponse(answer.content, status_code=answer.status, headers=headers)


class _Asking:
    """A request, as the calls need to know it."""

    def __init__(self, request: Request, limits: HttpLimits) -> None:
        self._request = request
        self._limits = limits
        self.authorization = request.headers.get("authorization", "")

    async def read(self) -> bytes | None:
        """Return the body; None when it is larger than the server takes."""
        self._check_origin()
        body = bytearray()
        try:
            async with asyncio.timeout(_ARRIVAL_SECONDS):
                async for chunk in self._request.stream():
                    body += chunk
                    if len(body) > self._limits.max_message_bytes:
                        return None
        except TimeoutError:
            raise DeadlineError("the request did not arrive in time") from None
        except ClientDisconnect:
            raise InvalidInput("the request broke off") from None
        return bytes(body)

    async def left(self) -> None:
        """Wait until the browser has gone."""
        # After the body, nothing else comes.
        await self._request.receive()

    def _check_origin(self) -> None:
        headers = self._request.headers
        kind = headers.get("content-type", "").partition(";")[0].strip()
        # No other page's script can send this type without asking first.
        if kind != "application/json":
            raise InvalidInput("send the request as application/json")
        reason = refusal(self._limits.names, headers.get("host", ""))
        if reason is not None:
            raise PermissionDenied(reason)
