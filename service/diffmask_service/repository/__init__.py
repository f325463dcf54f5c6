"""The models that are served, found by name and version."""

from diffmask_service.repository.entries import ModelEntry, ModelState
from diffmask_service.repository.garbage import spare_living
from diffmask_service.repository.repository import Repository
from diffmask_service.repository.sources import ModelFolder, OneBundle, Source
from diffmask_service.repository.watching import watch

__all__ = [
    "ModelEntry",
    "ModelFolder",
    "ModelState",
    "OneBundle",
    "Repository",
    "Source",
    "spare_living",
    "watch",
]
