"""Exceptions as the log may show them: type and place, and never a user's text.

What an exception of another library says may quote the input that it failed on. So of
each exception of a chain the type and the place are written, and what it says only
where that is known to be harmless.
"""

import traceback
from collections.abc import Iterator

from diffmask_service.errors import DiffMaskError

_HARMLESS = (DiffMaskError, OSError, MemoryError)


def discreet_traceback(error: BaseException | None) -> str:
    """Return an exception and those that led to it, the first cause first.

    Args:
        error: The last of them; None gives an empty string.
    """
    return "\nwhich led to\n".join(map(_describe, reversed(list(_chain(error)))))


def _describe(error: BaseException) -> str:
    said = str(error) if _is_harmless(error) else "(what it says is not logged)"
    return "\n".join(
        [
            *(
                f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
                for frame in traceback.extract_tb(error.__traceback__)
            ),
            f"{type(error).__module__}.{type(error).__qualname__}: {said}",
        ]
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        hidden = error.__suppress_context__
        error = error.__cause__ or (None if hidden else error.__context__)


def _is_harmless(error: BaseException) -> bool:
    # ONNX Runtime sees numbers alone.
    is_from_runtime = type(error).__module__.startswith("onnxruntime.")
    return is_from_runtime or isinstance(error, _HARMLESS)
