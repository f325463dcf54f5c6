"""Who may call what: one check in front of every method, known or not."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

from diffmask_service.errors import AccessError, PermissionDenied, Unauthenticated
from diffmask_service.transport.grpc.interceptors import Handler, replace_work
from diffmask_service.transport.grpc.statuses import STATUS_BY_ERROR
from diffmask_service.transport.tokens import TokenFile

ADMIN_METHODS = frozenset(
    f"/inference.GRPCInferenceService/{name}"
    for name in ("RepositoryModelLoad", "RepositoryModelUnload", "LogSettings")
)
# What any caller with a token may ask, whatever the token is for.
_SHARED_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.")


class Authentication(grpc.aio.ServerInterceptor):
    """Refuses calls without the token that their method asks for.

    Methods that change which models are served ask for an admin token, all others for
    an inference token; health and reflection are content with either. Without an
    inference token file, everything but the admin methods is open; without an admin
    token file those are closed as soon as there is an inference token file.

    Args:
        inference: Tokens for everything but the admin methods; None lets everybody in.
        admin: Tokens for the admin methods.
    """

    def __init__(self, *, inference: TokenFile | None, admin: TokenFile | None) -> None:
        self._inference = inference
        self._admin = admin

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the method's handler, or one that refuses."""
        handler = await continuation(handler_call_details)
        refusal = self._refusal(
            str(handler_call_details.method),
            _authorization(handler_call_details.invocation_metadata or ()),
        )
        if refusal is None:
            return handler
        code, message = STATUS_BY_ERROR[type(refusal)], str(refusal)

        async def refuse(request: object, context: Any) -> None:
            del request
            await context.abort(code, message)

        return replace_work(handler, refuse)

    def _refusal(self, path: str, authorization: str) -> AccessError | None:
        wanted = self._inference
        if path in ADMIN_METHODS:
            wanted = self._admin
            if wanted is None and self._inference is not None:
                return PermissionDenied(
                    "this method is closed; the server has no admin tokens"
                )
        if wanted is None or wanted.admits(authorization):
            return None
        others = (self._inference, self._admin)
        is_known = any(
            each is not None and each.admits(authorization) for each in others
        )
        if not is_known:
            return Unauthenticated(
                "send a valid token in the header `authorization`, after `Bearer `"
            )
        if path.startswith(_SHARED_PREFIXES):
            return None
        return PermissionDenied("the token is valid, but not for this method")


def _authorization(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            return value
    return ""
