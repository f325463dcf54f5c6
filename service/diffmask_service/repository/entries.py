"""What is told of a model that the repository knows, whether it answers or not."""

from dataclasses import dataclass
from enum import StrEnum


class ModelState(StrEnum):
    """How a version of a model stands."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One version of a model.

    Attributes:
        name: Of the model.
        version: A decimal number.
        state: How it stands.
        reason: Why it does not answer, or why what now lies in its folder is not what
            answers; empty when there is nothing to tell.
    """

    name: str
    version: str
    state: ModelState
    reason: str = ""
