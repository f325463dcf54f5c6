"""The models that are served, found by name and version."""

from diffmask_service.repository.entries import ModelEntry, ModelState
from diffmask_service.repository.repository import Repository

__all__ = ["ModelEntry", "ModelState", "Repository"]
