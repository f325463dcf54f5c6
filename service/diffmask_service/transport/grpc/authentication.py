"""One check of the caller's token in front of every method, known or not."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import grpc

from diffmask_service.transport.access import Access
from diffmask_service.transport.grpc.interceptors import Handler, replace_work
from diffmask_service.transport.grpc.statuses import STATUS_BY_ERROR


class Authentication(grpc.aio.ServerInterceptor):
    """Refuses calls without the token that their method asks for.

    Args:
        access: Which token opens what.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the method's handler, or one that refuses."""
        handler = await continuation(handler_call_details)
        refusal = self._access.refusal(
            str(handler_call_details.method),
            _authorization(handler_call_details.invocation_metadata or ()),
        )
        if refusal is None:
            return handler
        code, message = STATUS_BY_ERROR[type(refusal)], str(refusal)

        async def refuse(request: object, context: Any) -> None:
            del request
            await context.abort(code, message)

        # What a stranger sends is not looked at.
        return replace_work(handler, refuse, parses=False)


def _authorization(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            return value
    return ""
