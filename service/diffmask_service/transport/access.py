"""Who may call what, whatever the protocol: which method asks for which token."""

from collections.abc import Collection

from diffmask_service.errors import AccessError, PermissionDenied, Unauthenticated
from diffmask_service.transport.tokens import TokenFile

ADMIN_METHODS = frozenset(
    f"/inference.GRPCInferenceService/{name}"
    for name in ("RepositoryModelLoad", "RepositoryModelUnload", "LogSettings")
)
# What any caller with a token may ask, whatever the token is for.
_SHARED_PREFIXES = ("/grpc.health.v1.Health/", "/grpc.reflection.")


class Access:
    """The tokens of the callers, and what each of them opens.

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

    def refusal(self, path: str, authorization: str) -> AccessError | None:
        """Return why a call is refused; None lets it in.

        Args:
            path: Full name of the method, `/package.Service/Method`.
            authorization: Value of the caller's header; empty for none.
        """
        wanted = self._inference
        if path in ADMIN_METHODS:
            wanted = self._admin
            if wanted is None and self._inference is not None:
                return PermissionDenied(
                    "this method is closed; the server has no admin tokens"
                )
        if wanted is None or wanted.admits(authorization):
            return None
        if not _admit(self._inference, self._admin, authorization=authorization):
            return Unauthenticated(
                "send a valid token in the header `authorization`, after `Bearer `"
            )
        if path.startswith(_SHARED_PREFIXES):
            return None
        return PermissionDenied("the token is valid, but not for this method")


def _admit(*groups: TokenFile | None, authorization: str) -> bool:
    known: Collection[TokenFile] = [each for each in groups if each is not None]
    return any(each.admits(authorization) for each in known)
