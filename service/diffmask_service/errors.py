"""Every error that leaves a part of the service, free of protocol numbers.

```
DiffMaskError
├── RequestError            the caller can fix it
│   ├── InvalidInput        empty, not text, bad field
│   ├── InputTooLong        carries actual and allowed token counts
│   ├── NotFound            no such model, version or state
│   └── UnsupportedTask     this bundle cannot answer that
├── AccessError             the caller may not do this
│   ├── Unauthenticated     no token, or one that nobody was given
│   └── PermissionDenied    a token for other methods
├── OverloadedError         try again later; carries a hint in seconds
├── NotReadyError           loading, unhealthy or draining
├── DeadlineError           the caller's time ran out, or would in the queue
├── BundleError             refuse to start
│   ├── FolderError         no such folder; names its path, for the operator alone
│   ├── ManifestError       carries the JSON path of the bad value
│   ├── DigestMismatch      a file is not the one that was exported
│   ├── SchemaVersionError  written by a later release
│   ├── GraphError          the graph is not the one the manifest describes
│   └── SelfTestError       the graph runs but gives other values
├── StartError              a setting, port or dependency keeps the server from starting
├── ServerError             what a server answered to our client, none of the above
└── InferenceError          our fault; details stay in the log
```

Messages name what was sent, the limit and the remedy; they may reach a caller, so they
hold no text, the caller's own included: what is told to one caller may be logged on the
way. Nor do they hold a path inside the server, but for FolderError and StartError,
which no caller is told. A name that the caller sent is repeated when it looks like one,
see `shown_name`.
"""

import re

_NAME = re.compile(r"[\w.:/-]{1,64}")


class DiffMaskError(Exception):
    """Base of every error of the service."""


class RequestError(DiffMaskError):
    """The caller sent something that cannot be answered and can fix it."""


class InvalidInput(RequestError):
    """A field of the request is empty, malformed or contradicts another."""


class InputTooLong(RequestError):
    """A text has more tokens than the model takes and truncation is off.

    Attributes:
        num_tokens: Tokens of the text, special tokens counted.
        max_tokens: Tokens that the model takes.
    """

    def __init__(self, message: str, *, num_tokens: int, max_tokens: int) -> None:
        super().__init__(message)
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens


class NotFound(RequestError):
    """No model, version or state has the name that was asked for."""


class UnsupportedTask(RequestError):
    """The model cannot answer this kind of request."""


class AccessError(DiffMaskError):
    """The caller may not do what it asks for."""


class Unauthenticated(AccessError):
    """The call brings no token, or one that is not valid."""


class PermissionDenied(AccessError):
    """The call brings a valid token that is for other methods."""


class OverloadedError(DiffMaskError):
    """There is no room for more work now.

    Attributes:
        retry_after_seconds: When trying again may work, seconds, >= 0.
    """

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotReadyError(DiffMaskError):
    """The server is loading, unhealthy or draining."""


class DeadlineError(DiffMaskError):
    """The caller's time ran out before the work was done, or likely would.

    Attributes:
        retry_after_seconds: When a request with as much time may be answered, seconds,
            >= 0; None where waiting is of no help.
    """

    def __init__(
        self, message: str, *, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class BundleError(DiffMaskError):
    """A bundle cannot be used; the server refuses to start with it."""


class FolderError(BundleError):
    """A folder that the operator named holds nothing to read; no caller sees which."""


class ManifestError(BundleError):
    """The manifest holds a wrong or missing value.

    Attributes:
        path: JSON path of the value, such as `$.graphs.fp32.file`.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(f"manifest.json, {path}: {message}")
        self.path = path


class DigestMismatch(BundleError):
    """A file's bytes are not the ones that the manifest vouches for."""


class SchemaVersionError(BundleError):
    """The bundle was written under a schema that this release does not know."""


class GraphError(BundleError):
    """A graph has the wrong inputs, outputs or operators, or does not load."""


class SelfTestError(BundleError):
    """A graph does not reproduce the values stored with it."""


class StartError(DiffMaskError):
    """A setting, a port or a missing dependency keeps the server from starting."""


class ServerError(DiffMaskError):
    """A server answered our client with a failure of its own.

    Attributes:
        code: Name of the gRPC status, such as `INTERNAL`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class InferenceError(DiffMaskError):
    """The graph failed on a valid input; the cause is in the server's log."""


def shown_name(name: str) -> str:
    """Return a name that a caller sent as an error message may repeat it.

    Up to 64 letters, digits and `_.:/-` are repeated; of anything else, which may be a
    text in the wrong field, only the length is told.

    Args:
        name: A model, version, state or service, as it was asked for.
    """
    if _NAME.fullmatch(name):
        return repr(name)
    return f"(a name of {len(name)} characters)"
